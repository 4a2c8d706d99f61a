// api.js - calls of the server.   SPDX-License-Identifier: MIT

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message || `HTTP ${status}`);
    this.status = status;
    this.param = error?.param;
  }
}

let onLocked = () => {};
/** What happens when a key is needed. */
export function whenLocked(f) { onLocked = f; }

async function send(method, path, body, signal) {
  const options = { method, headers: {}, signal };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  if (answer.status === 401 && path !== "/himmel/v1/session") onLocked();
  if (!answer.ok) throw new ApiError(answer.status, (await answer.json().catch(() => null))?.error);
  return answer;
}

const call = async (method, path, body) => (await send(method, path, body)).json().catch(() => null);

export const get = path => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);
export const remove = path => call("DELETE", path);

/** Pictures: a stream begins once they are in the queue, and that is all that is waited for (a browser has six connections to a
 * server); the gallery has the rest. */
export async function startPictures(path, body) {
  const stop = new AbortController();
  if (body instanceof FormData) body.append("stream", "true");
  await send("POST", path, body instanceof FormData ? body : { ...body, stream: true }, stop.signal);
  stop.abort();
}

/** Fields to a form; undefined and "" are left out. */
export function form(fields) {
  const f = new FormData();
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined && value !== null && value !== "") f.append(name, value);
  return f;
}

/** Films and pictures, newest first, a page: {jobs, next}; next (null: that was all) goes in again for older ones. */
export async function list(search, from = { films: "", pictures: "" }) {
  const page = async (path, after) => after === null ? { data: [], has_more: false }
    : get(`${path}?${new URLSearchParams({ limit: "24", ...(search ? { search } : {}), ...(after ? { after } : {}) })}`);
  const [films, pictures] = await Promise.all([page("/v1/videos", from.films), page("/himmel/v1/images", from.pictures)]);
  const last = p => p.has_more ? p.data.at(-1).id : null;
  const next = { films: last(films), pictures: last(pictures) };
  return { jobs: [...films.data, ...pictures.data].sort((a, b) => b.created_at - a.created_at), next: next.films || next.pictures ? next : null };
}

/** One film or picture by its id. */
export async function find(id) {
  if (id.startsWith("video_")) return get(`/v1/videos/${encodeURIComponent(id)}`);
  for (let from; from !== null;) {
    const page = await get(`/himmel/v1/images?${new URLSearchParams({ limit: "100", ...(from ? { after: from } : {}) })}`);
    const job = page.data.find(j => j.id === id);
    if (job) return job;
    from = page.has_more ? page.data.at(-1).id : null;
  }
  throw new ApiError(404, { message: `there is no picture ${id}` });
}

export const isFilm = job => job.object === "video";
export const url = {
  film: job => `/v1/videos/${job.id}/content`,
  thumb: job => isFilm(job) ? `/v1/videos/${job.id}/content?variant=thumbnail` : `/himmel/v1/images/${job.id}`,
  picture: job => `/himmel/v1/images/${job.id}`,
};
export const erase = job => remove(isFilm(job) ? `/v1/videos/${job.id}` : `/himmel/v1/images/${job.id}`);
export const cancel = job => post(`/himmel/v1/jobs/${job.id}/cancel`);

/** A key, or an invitation with its keys: {stopped} says how many jobs that ended. */
export const revoke = name => post("/himmel/v1/keys/revoke", { name });

/** Follow a job: onJob(job) at every step, onPreview(data url). Returns a function that stops it. */
export function follow(id, onJob, onPreview) {
  const source = new EventSource(`/himmel/v1/jobs/${id}/events`);
  source.addEventListener("progress", e => onJob(JSON.parse(e.data)));
  source.addEventListener("preview", e => onPreview(`data:image/jpeg;base64,${JSON.parse(e.data).b64_json}`));
  source.addEventListener("end", e => { source.close(); onJob(JSON.parse(e.data), true); });
  return () => source.close();
}
