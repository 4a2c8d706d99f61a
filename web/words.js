// words.js - everything the studio says, in English and German.   SPDX-License-Identifier: MIT

const words = {
  skip: ["Skip to the content", "Zum Inhalt"], rooms: ["Rooms", "Räume"],
  tab_create: ["Create", "Gestalten"], tab_board: ["Storyboard", "Storyboard"], tab_verify: ["Verify", "Prüfen"], tab_queue: ["Queue", "Aufträge"],
  create_title: ["What shall the sky do?", "Was soll der Himmel tun?"], placeholder: ["Sunset over a calm sea, the camera pans left …", "Sonnenuntergang über ruhigem Meer, die Kamera schwenkt nach links …"],
  prompt: ["Prompt", "Beschreibung"], examples: ["Examples", "Beispiele"], kind: ["Make", "Was"], film: ["Film", "Film"], image: ["Picture", "Bild"],
  size: ["Size", "Größe"], landscape: ["Landscape", "Querformat"], portrait: ["Portrait", "Hochformat"], square: ["Square", "Quadrat"],
  another_size: ["Another size …", "Andere Größe …"], own_size: ["Width × height", "Breite × Höhe"], seconds: ["Seconds", "Sekunden"],
  variations: ["Variations", "Varianten"], make: ["Make it", "Los"], more: ["More settings", "Mehr Einstellungen"], seed: ["Seed", "Startzahl"], random: ["random", "zufällig"],
  steps: ["Steps", "Schritte"], guidance: ["Guidance", "Prompttreue"], negative: ["Keep away from", "Vermeiden"], first_picture: ["First picture", "Erstes Bild"],
  unknown: ["himmel-1 has never seen: {words}. It knows {known}", "himmel-1 hat nie gesehen: {words}. Es kennt {known}"],
  known: ["", "Himmel und Wolken, Meer, Berge, Hügel, Wald, Dünen, See, Strand und Stadt zu jeder Tageszeit, bei Sonne, Regen, Schnee, Nebel und Gewitter, mit Ballons, Booten, Leuchttürmen, Vögeln, Drachen, Flugzeugen, Laternen, Windmühlen, Feuerwerk, Mond und Sternschnuppen."],
  fuller: ["In full: {text}", "Ausführlich: {text}"], use: ["Use this", "Übernehmen"],
  yours: ["Your films and pictures", "Deine Filme und Bilder"], search: ["Search prompts", "Beschreibungen durchsuchen"], older: ["Show older ones", "Ältere zeigen"],
  nothing: ["Nothing here yet. Describe a sky, or take one of the examples.", "Noch nichts da. Beschreibe einen Himmel oder nimm ein Beispiel."],
  nothing_found: ["No prompt has these words.", "Keine Beschreibung enthält diese Wörter."],
  facts: ["{size} · {seconds} s", "{size} · {seconds} s"], facts_image: ["{size}", "{size}"], open: ["Open: {prompt}", "Öffnen: {prompt}"],
  preview: ["Preview of the film in work", "Vorschau des entstehenden Films"], progress_of: ["Progress: {prompt}", "Fortschritt: {prompt}"],
  queued: ["Waiting, {n} before it", "Wartet, {n} davor"], queued_next: ["Waiting, next in line", "Wartet, als nächstes dran"], failed: ["Failed: {message}", "Misslungen: {message}"], stopped: ["Stopped", "Angehalten"],
  phase_text: ["Reading the prompt", "Liest die Beschreibung"], phase_sample: ["Step {step} of {n}", "Schritt {step} von {n}"], phase_film: ["Drawing frames", "Zeichnet Bilder"],
  eta_open: ["time left not known yet", "Restzeit noch unbekannt"], eta_soon: ["a few seconds left", "noch wenige Sekunden"], eta_s: ["about {n} s left", "noch etwa {n} s"], eta_min: ["about {n} min left", "noch etwa {n} min"],
  cancel: ["Stop", "Anhalten"], cancel_of: ["Stop: {prompt}", "Anhalten: {prompt}"], erase: ["Delete", "Löschen"], really: ["Delete for good?", "Endgültig löschen?"],
  started: ["On its way.", "Unterwegs."], done_news: ["Ready: {prompt}", "Fertig: {prompt}"], deleted: ["Deleted.", "Gelöscht."],
  player: ["Player", "Abspielen"], play: ["Play", "Abspielen"], pause: ["Pause", "Anhalten"], position: ["Position", "Stelle"], at: ["second {s}", "Sekunde {s}"],
  loop: ["Loop", "Schleife"], frame_back: ["Frame back", "Bild zurück"], frame_on: ["Frame on", "Bild vor"], fullscreen: ["Full screen", "Vollbild"],
  tools: ["Tools", "Werkzeuge"], about: ["About", "Über"], made: ["Made", "Gemacht"], made_from: ["Made from this film", "Aus diesem Film gemacht"],
  download: ["Download", "Herunterladen"], again: ["Use prompt and seed", "Prompt und Startzahl übernehmen"], to_card: ["Frame to storyboard", "Bild ins Storyboard"], verify: ["Verify", "Prüfen"],
  remix: ["Remix", "Abwandeln"], remix_help: ["The same shapes and moves, told differently.", "Dieselben Formen und Bewegungen, anders erzählt."],
  strength: ["How different", "Wie anders"], strength_low: ["nearly the same", "fast gleich"], strength_high: ["all new", "ganz neu"],
  paint: ["Change a part", "Teil ändern"], paint_help: ["Paint over what shall change; the rest stays as it is, in the whole film.", "Übermale, was anders werden soll; der Rest bleibt im ganzen Film, wie er ist."],
  paint_help_image: ["Paint over what shall change; the rest stays as it is.", "Übermale, was anders werden soll; der Rest bleibt, wie er ist."],
  paint_prompt: ["What shall be there", "Was dort sein soll"], brush: ["Brush", "Pinsel"], rub: ["Eraser", "Radierer"], undo: ["Undo", "Zurück"], clear: ["Clear", "Leeren"], mask: ["Mask over the frame", "Maske über dem Bild"],
  box: ["A box instead of painting", "Ein Kasten statt zu malen"], box_add: ["Add the box", "Kasten malen"], box_x: ["Left", "Links"], box_y: ["Top", "Oben"], box_w: ["Width", "Breite"], box_h: ["Height", "Höhe"], no_mask: ["Nothing is painted yet.", "Noch ist nichts gemalt."],
  extend: ["Extend", "Verlängern"], extend_help: ["New seconds before or after; the film itself stays as it is.", "Neue Sekunden davor oder danach; der Film selbst bleibt, wie er ist."],
  extend_after: ["Seconds after", "Sekunden danach"], extend_before: ["Seconds before", "Sekunden davor"],
  close_loop: ["Close the loop", "Zur Schleife schließen"], close_loop_help: ["New seconds lead from the end back to the start.", "Neue Sekunden führen vom Ende zurück zum Anfang."], loop_seconds: ["Seconds on the way back", "Sekunden für den Rückweg"],
  blend: ["Blend", "Verbinden"], blend_help: ["New seconds lead from one film to the other.", "Neue Sekunden führen von einem Film zum anderen."], blend_with: ["Other film", "Anderer Film"],
  blend_order: ["The other comes", "Der andere kommt"], blend_after: ["after", "danach"], blend_before: ["before", "davor"], blend_seconds: ["Seconds between", "Sekunden dazwischen"], no_other: ["There is no other film yet.", "Es gibt noch keinen anderen Film."],
  board_title: ["A film told in cards", "Ein Film in Karten"], board_help: ["Each card holds from its second on; a picture is shown at that very moment.", "Jede Karte gilt ab ihrer Sekunde; ein Bild ist genau in diesem Moment zu sehen."],
  timeline: ["Timeline", "Zeitleiste"], card_n: ["Card {n}", "Karte {n}"], add_card: ["Add a card", "Karte dazu"], card_at: ["Card {n}, from second", "Karte {n}, ab Sekunde"], card_prompt: ["What happens", "Was geschieht"], card_picture: ["Picture", "Bild"],
  remove_card: ["Remove", "Entfernen"], remove_card_n: ["Remove card {n}", "Karte {n} entfernen"],
  verify_title: ["Where does this file come from?", "Woher kommt diese Datei?"], verify_help: ["Drop any film or picture. It is looked at here and not kept.", "Gib einen Film oder ein Bild her. Es wird hier angesehen und nicht aufgehoben."],
  drop: ["Drop a file here, or choose one", "Datei hierher ziehen oder auswählen"], checking: ["Checking …", "Wird geprüft …"],
  layer_credentials: ["Signed Content Credentials", "Signierte Content Credentials"], credentials_trusted: ["Signed by {signer}, whom you trust, and unchanged since.", "Signiert von {signer}; du vertraust dieser Stelle. Seither unverändert."],
  credentials_valid: ["Signed by {signer}, unchanged since. Nobody here has said that this signer is trusted.", "Signiert von {signer}, seither unverändert. Niemand hier hat diese Stelle für vertrauenswürdig erklärt."],
  credentials_broken: ["There are some, but they do not hold: the file was changed after it was signed.", "Es gibt welche, aber sie halten nicht: Die Datei wurde nach dem Signieren verändert."], credentials_none: ["None. That says nothing about how it was made.", "Keine. Das sagt nichts darüber, wie sie entstand."],
  made_by_machine: ["They say that a machine made it.", "Sie sagen: Eine Maschine hat es gemacht."], made_by_camera: ["They say that a camera took it.", "Sie sagen: Eine Kamera hat es aufgenommen."],
  layer_watermark: ["Invisible watermark", "Unsichtbares Wasserzeichen"], watermark_found: ["Found: made by himmel.", "Gefunden: von himmel gemacht."], watermark_none: ["None found.", "Keines gefunden."], watermark_unread: ["Not looked for in this file.", "In dieser Datei nicht gesucht."],
  layer_mark: ["Visible mark", "Sichtbares Zeichen"], mark_drawn: ["Drawn, as the credentials say.", "Gezeichnet, so sagen es die Credentials."], mark_left_out: ["Left out, as the credentials say.", "Weggelassen, so sagen es die Credentials."], mark_not_said: ["The file does not say whether there is one.", "Die Datei sagt nicht, ob es eines gibt."],
  disagree: ["The layers contradict each other", "Die Schichten widersprechen sich"], everything: ["Everything found", "Alles Gefundene"],
  queue_title: ["Queue and keys", "Aufträge und Schlüssel"], in_work: ["In work", "In Arbeit"], waiting: ["Waiting", "Wartend"], time_left: ["For the one in work", "Für den laufenden"], model: ["Model", "Modell"], model_loading: ["loading", "wird geladen"], model_failed: ["none", "keines"],
  idle: ["Nothing waits, nothing works.", "Nichts wartet, nichts läuft."], keys: ["Keys and what they made", "Schlüssel und was sie gemacht haben"], your_key: ["Your key", "Dein Schlüssel"],
  no_keys: ["No keys yet: whoever sits at this machine is the owner. Make one with: himmel keys new NAME", "Noch keine Schlüssel: Wer an diesem Rechner sitzt, ist Besitzer. Anlegen mit: himmel keys new NAME"],
  key_name: ["Name", "Name"], key_may: ["May", "Darf"], key_until: ["Until", "Bis"], key_made: ["Made", "Gemacht"], key_now: ["Now", "Jetzt"], key_from: ["Addresses in an hour", "Adressen je Stunde"],
  key_films: ["{films} ({seconds} s)", "{films} ({seconds} s)"], may_create: ["make", "herstellen"], may_read: ["see", "ansehen"], may_admin: ["everything", "alles"], never: ["no end", "ohne Ende"], revoked: ["revoked", "gesperrt"], shared: ["{addresses}: shared?", "{addresses}: geteilt?"],
  revoke: ["Revoke", "Sperren"], revoke_of: ["Revoke {name}", "{name} sperren"], revoke_sure: ["Revoke for good?", "Endgültig sperren?"], your_own: ["you", "du"],
  revoked_news: ["Revoked: {name}. Jobs stopped: {stopped}.", "Gesperrt: {name}. Angehaltene Aufträge: {stopped}."], revoked_nothing: ["Revoked: {name}.", "Gesperrt: {name}."],
  invitations: ["Invitations", "Einladungen"], invitation: ["Invitation", "Einladung"], redeemed: ["Redeemed", "Eingelöst"], uses_left: ["Left", "Übrig"],
  sign_out: ["Sign out", "Abmelden"], close: ["Close", "Schließen"], door_title: ["This studio opens with a key", "Dieses Studio öffnet sich mit einem Schlüssel"], key: ["Key", "Schlüssel"], enter: ["Enter", "Eintreten"],
  loading: ["The model is being loaded.", "Das Modell wird geladen."], no_model: ["No model: {error}", "Kein Modell: {error}"],
  credits: ["himmel-1 was trained from nothing on footage that himmel renders itself. What it makes carries signed Content Credentials that say a machine made it.",
    "himmel-1 wurde von Grund auf mit Aufnahmen trainiert, die himmel selbst rechnet. Was es macht, trägt signierte Content Credentials: Eine Maschine hat es gemacht."],
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

/** Put texts into elements with data-t (text), data-l (label) and data-p (placeholder). */
export function translate(root = document) {
  document.documentElement.lang = language;
  for (const e of root.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of root.querySelectorAll("[data-l]")) e.setAttribute("aria-label", t(e.dataset.l));
  for (const e of root.querySelectorAll("[data-p]")) e.placeholder = t(e.dataset.p);
}

export function setLanguage(l) {
  language = l;
  localStorage.setItem("language", l);
  translate();
}

/** How long it still takes, no finer than it is known. */
export function remaining(seconds) {
  if (seconds < 5) return t("eta_soon");
  return seconds < 90 ? t("eta_s", { n: Math.round(seconds / 5) * 5 }) : t("eta_min", { n: Math.round(seconds / 60) });
}
