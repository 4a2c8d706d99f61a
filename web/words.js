// words.js - everything the studio says, in English and German.   SPDX-License-Identifier: MIT

const words = {
  skip: ["To the prompt", "Zum Prompt"],
  tab_create: ["Create", "Gestalten"], tab_board: ["Storyboard", "Storyboard"], tab_check: ["Check a file", "Datei prüfen"],
  tab_owner: ["Queue and keys", "Warteschlange und Schlüssel"],
  create_title: ["What shall the sky do?", "Was soll der Himmel tun?"],
  prompt: ["Prompt", "Beschreibung"], examples: ["Examples", "Beispiele"],
  kind: ["Make", "Wird"], film: ["a film", "ein Film"], image: ["a picture", "ein Bild"], size: ["Size", "Größe"], seconds: ["Seconds", "Sekunden"],
  variations: ["Variations", "Varianten"], make: ["Make it", "Los"], more: ["More settings", "Mehr Einstellungen"], seed: ["Seed", "Startzahl"],
  steps: ["Steps", "Schritte"], guidance: ["Guidance", "Prompttreue"], negative: ["Keep away from", "Vermeiden"], first_picture: ["First picture", "Erstes Bild"],
  yours: ["Your films", "Deine Filme"], search: ["Search", "Suchen"], older: ["Older ones", "Ältere"],
  nothing: ["Nothing here yet. Describe a sky above.", "Noch nichts da. Beschreibe oben einen Himmel."],
  nothing_found: ["Nothing has these words.", "Nichts enthält diese Wörter."],
  board_title: ["A film through cards", "Ein Film aus Karten"],
  board_help: ["Each card says what holds from its second on; a picture is shown at that moment.", "Jede Karte gilt ab ihrer Sekunde; ein Bild ist in diesem Moment zu sehen."],
  add_card: ["Add a card", "Karte dazu"], card_at: ["From second", "Ab Sekunde"], card_prompt: ["What happens", "Was geschieht"], card_picture: ["Picture", "Bild"],
  remove_card: ["Remove this card", "Karte entfernen"],
  check_title: ["Where does this file come from?", "Woher kommt diese Datei?"],
  drop: ["Drop a film or picture here, or choose one", "Film oder Bild hierher ziehen oder auswählen"], checking: ["Checking …", "Wird geprüft …"],
  owner_title: ["Queue and keys", "Warteschlange und Schlüssel"], sign_out: ["Sign out", "Abmelden"],
  waiting: ["{n} waiting, {m} in work", "{n} warten, {m} in Arbeit"], no_keys: ["No keys yet: everybody on this machine is the owner. Make one: himmel keys new NAME", "Noch keine Schlüssel: Alle an diesem Rechner sind Besitzer. Anlegen: himmel keys new NAME"],
  key_name: ["Name", "Name"], key_can: ["May", "Darf"], key_made: ["Made", "Gemacht"], key_now: ["Now", "Jetzt"], key_from: ["Addresses, last hour", "Adressen, letzte Stunde"], revoked: ["revoked", "gesperrt"], shared: ["shared?", "geteilt?"],
  credits: ["himmel-1 was trained from nothing on footage that himmel renders itself. Every film carries signed Content Credentials that say a machine made it.",
    "himmel-1 wurde von Grund auf mit Aufnahmen trainiert, die himmel selbst rechnet. Jeder Film trägt signierte Content Credentials: eine Maschine hat ihn gemacht."],
  close: ["Close", "Schließen"], door_title: ["This studio is open to those with a key", "Dieses Studio öffnet sich mit einem Schlüssel"], key: ["Key", "Schlüssel"], enter: ["Enter", "Eintreten"],
  unknown: ["himmel-1 has never seen: {words}. It knows {known}.", "himmel-1 hat nie gesehen: {words}. Es kennt {known}."],
  loading: ["The model is being loaded.", "Das Modell wird geladen."], no_model: ["No model: {error}", "Kein Modell: {error}"],
  queued: ["waiting, number {n}", "wartet, Platz {n}"], in_progress: ["{percent} %, about {eta} left", "{percent} %, noch etwa {eta}"], in_progress_open: ["{percent} %", "{percent} %"],
  completed: ["ready", "fertig"], failed: ["failed: {message}", "misslungen: {message}"], started: ["On its way.", "Unterwegs."], done_news: ["Ready: {prompt}", "Fertig: {prompt}"],
  open: ["Open: {prompt}", "Öffnen: {prompt}"], cancel: ["Stop", "Anhalten"], again: ["Use prompt and seed", "Prompt und Startzahl übernehmen"], erase: ["Delete", "Löschen"],
  really: ["Delete for good?", "Endgültig löschen?"], download: ["Download", "Herunterladen"], loop: ["Loop", "Schleife"], frame_back: ["Frame back", "Bild zurück"], frame_on: ["Frame on", "Bild vor"],
  facts: ["{size}, {seconds} s, seed {seed}", "{size}, {seconds} s, Startzahl {seed}"], facts_image: ["{size}, seed {seed}", "{size}, Startzahl {seed}"], verify: ["Where from?", "Herkunft"],
  remix: ["Remix", "Abwandeln"], remix_help: ["The same film, told differently", "Derselbe Film, anders erzählt"], strength: ["How different", "Wie anders"],
  paint: ["Change a part", "Teil ändern"], paint_help: ["Paint over what shall change, or give a box", "Übermale, was anders werden soll, oder gib einen Kasten an"], brush: ["Brush", "Pinsel"], clear: ["Clear", "Leeren"],
  box_x: ["Box left", "Kasten links"], box_y: ["Box top", "Kasten oben"], box_w: ["Box width", "Kasten Breite"], box_h: ["Box height", "Kasten Höhe"], no_mask: ["Nothing is painted yet.", "Noch ist nichts gemalt."],
  extend: ["Extend", "Verlängern"], extend_after: ["Seconds after", "Sekunden danach"], extend_before: ["Seconds before", "Sekunden davor"], close_loop: ["Make it a loop", "Zur Schleife schließen"],
  blend: ["Blend", "Überblenden"], blend_with: ["Leads to", "Führt zu"], blend_seconds: ["Seconds between", "Sekunden dazwischen"], no_other: ["There is no other film yet.", "Es gibt noch keinen anderen Film."],
  mask: ["Mask", "Maske"], deleted: ["Deleted.", "Gelöscht."], s: ["s", "s"], min: ["min", "min"],
  layer_credentials: ["Signed Content Credentials", "Signierte Content Credentials"], layer_found: ["found, and the signature holds", "gefunden, die Signatur stimmt"],
  layer_trusted: ["found, from somebody you trust", "gefunden, von jemandem, dem du vertraust"], layer_absent: ["none", "keine"], layer_broken: ["found, but changed afterwards", "gefunden, aber danach verändert"],
  layer_machine: ["made by a machine", "von einer Maschine gemacht"], other_layers: ["Everything found", "Alles Gefundene"],
  layer_watermark: ["Invisible watermark", "Unsichtbares Wasserzeichen"], layer_mark: ["Visible mark", "Sichtbares Zeichen"],
};

export const examples = {
  en: ["sunset over a calm sea, the camera pans left", "aurora above snowy mountains at night", "thunderstorm over a city at night", "two red hot-air balloons above fields in the morning", "fog drifts over hills at dawn"],
  de: ["Sonnenuntergang über ruhigem Meer, die Kamera schwenkt nach links", "Polarlicht über verschneiten Bergen bei Nacht", "Gewitter über der Stadt bei Nacht", "zwei rote Heißluftballons über Feldern am Morgen", "Nebel zieht in der Dämmerung über Hügel"],
};

export let language = localStorage.getItem("language") || (navigator.language.startsWith("de") ? "de" : "en");

/** A text by its name, {x} replaced by values.x. */
export function t(name, values = {}) {
  const text = words[name]?.[language === "de" ? 1 : 0] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Put texts into elements with data-t (text) and data-l (label). */
export function translate(root = document) {
  document.documentElement.lang = language;
  for (const e of root.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of root.querySelectorAll("[data-l]")) e.setAttribute("aria-label", t(e.dataset.l));
}

export function setLanguage(l) {
  language = l;
  localStorage.setItem("language", l);
  translate();
}

/** "8 s", "3 min" */
export function duration(seconds) {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} ${t("s")}` : `${Math.round(seconds / 60)} ${t("min")}`;
}
