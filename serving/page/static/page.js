// Where a photo was taken: takes the photo, asks the server, shows what it answers.

import * as api from "./api.js";
import { element, failure, match, verdict } from "./answers.js";
import { PlaceMap } from "./place_map.js";
import { sha256 } from "./sha256.js";

const MOST_PIXELS = 100_000_000;

const $ = (id) => document.getElementById(id);
const state = { settings: null, maps: [], map: null, file: null, type: null, answer: null, asking: null, agreeing: null };

/** Asks the server what it knows and offers; once more where a token was given since. */
async function start() {
  try {
    [state.settings, state.maps] = await Promise.all([api.settings(), api.maps()]);
  } catch (error) {
    told(error, "The page could not start.");
    return;
  }
  const count = state.maps.reduce((sum, map) => sum + map.photos, 0);
  const names = state.maps.map((map) => map.name).join(", ");
  $("known-maps").textContent = `Compared with ${count.toLocaleString("en")} photos of ${names}.`;
  $("credit").textContent = state.settings.tiles_credit;
  $("agreed-label").hidden = !state.settings.heatmaps;
  state.map ??= new PlaceMap($("map"), state.settings.tiles, chooseOnMap, picked);
  offerMaps();
  await showMap(state.maps[0].name);
}

function offerMaps() {
  $("map-shown").replaceChildren(...state.maps.map((map) => new Option(map.name)));
  $("maps").querySelectorAll("label").forEach((label) => label.remove());
  for (const map of state.maps) {
    const box = element("input", "");
    box.type = "checkbox";
    box.value = map.name;
    box.checked = true;
    const label = element("label", "");
    label.append(box, map.name);
    $("maps").append(label);
  }
  $("maps").hidden = $("map-shown").hidden = state.maps.length < 2;
}

async function showMap(name) {
  const map = state.maps.find((one) => one.name === name);
  $("map-shown").value = name;
  const axes = map.kind === "degrees" ? ["Latitude", "Longitude"] : ["Easting", "Northing"];
  for (const [id, axis] of [["first", axes[0]], ["second", axes[1]], ["near-first", axes[0]], ["near-second", axes[1]]]) {
    $(`${id}-axis`).textContent = axis;
  }
  let positions = [];
  try {
    positions = (await api.track(name)).positions.map(([first, second]) => (map.kind === "degrees" ? [first, second] : [second, first]));
  } catch (error) {
    told(error, "The photos of the map could not be shown.");
  }
  state.map.show(map, positions);
}

/** Takes a photo that was chosen, dropped, pasted or taken. */
async function take(file) {
  // Before the server has said what it offers, the page says why it has not.
  if (!file || !state.map) {
    return;
  }
  forget();
  const type = await api.photoType(file);
  if (!type) {
    told(new api.Refused("It must be a JPEG, PNG, WebP or GIF file.", 0), `${file.name || "This"} is no photo that can be read.`);
    return;
  }
  if (file.size > state.settings.most_bytes) {
    const most = Math.floor(state.settings.most_bytes / 2 ** 20);
    told(new api.Refused(`It may have at most ${most} MB.`, 0), "This photo is too large.");
    return;
  }
  state.file = file;
  state.type = type;
  await Promise.all([preview(file), ask()]);
}

/** Shows the photo, unless it has so many pixels that the browser would choke on it. */
async function preview(file) {
  const address = URL.createObjectURL(file);
  const probe = new Image();
  probe.src = address;
  await new Promise((done) => (probe.onload = probe.onerror = done));
  const pixels = probe.naturalWidth * probe.naturalHeight;
  if (file === state.file && pixels > 0 && pixels <= MOST_PIXELS) {
    $("photo").src = address;
    $("shown").hidden = false;
    $("drop").classList.add("filled");
    $("choose-label").textContent = "Choose another";
  }
}

/** Asks the server about the photo that is there. */
async function ask() {
  if (!ticked().length) {
    told(new api.Refused("Tick at least one map to look in.", 0), "No map is chosen.");
    return;
  }
  const asking = new AbortController();
  state.asking?.abort();
  state.asking = asking;
  busy(true);
  try {
    const answer = await api.localize(state.file, state.type, options(), asking.signal);
    await shown(answer);
  } catch (error) {
    if (error.name !== "AbortError") {
      told(error, "There is no answer.");
    }
  } finally {
    if (state.asking === asking) {
      busy(false);
    }
  }
}

/** Names of the maps that are looked in. */
function ticked() {
  return [...$("maps").querySelectorAll("input:checked")].map((box) => box.value);
}

function options() {
  const near = [$("near-first").value, $("near-second").value];
  const isNear = near.every((value) => value !== "");
  const maps = ticked();
  return {
    precision: $("precision").value,
    near: isNear ? near.join(",") : "",
    within: isNear ? $("within").value : "",
    time_of_day: $("time-of-day").value,
    maps: maps.length === state.maps.length ? "" : maps.join(","),
  };
}

function busy(is) {
  $("progress").hidden = !is;
  $("asked").setAttribute("aria-busy", String(is));
  $("again").disabled = is || !state.file;
  if (is) {
    $("answer").replaceChildren(element("p", "quiet", "Looking for the place …"));
  }
}

/** Takes away what was said of another photo. */
function forget() {
  state.asking?.abort();
  state.agreeing?.abort();
  state.file = state.answer = null;
  busy(false);
  URL.revokeObjectURL($("photo").src);
  $("photo").removeAttribute("src");
  $("shown").hidden = $("photo-heat").hidden = true;
  $("drop").classList.remove("filled");
  $("choose-label").textContent = "Choose a photo";
  $("answer").replaceChildren();
  $("matches").replaceChildren();
  $("feedback").hidden = true;
  $("no-matches").hidden = false;
  explain(null);
  state.map?.locate(null);
}

/** Explains the marks that are on the map. */
function explain(answer) {
  $("legend-similar").hidden = !answer?.candidates.length;
  $("legend-estimate").hidden = !answer?.known;
}

async function shown(answer) {
  state.answer = answer;
  $("answer").replaceChildren(verdict(answer, Number($("precision").value)));
  const items = answer.candidates.map((candidate, rank) => match(candidate, rank, state.maps.length > 1, choose));
  $("matches").replaceChildren(...items);
  $("no-matches").hidden = items.length > 0;
  explain(answer);
  offerFeedback(answer);
  const name = answer.known ? answer.map : answer.candidates[0]?.map;
  if (name && name !== state.map.name) {
    await showMap(name);
    if (state.answer !== answer) {
      return;
    }
  }
  state.map.locate(answer);
  if (items.length) {
    choose(0);
  }
}

/** Chooses a match: on the map, and for what agreed. */
function choose(rank) {
  $("matches").querySelectorAll(".match").forEach((button, i) => button.setAttribute("aria-pressed", String(i === rank)));
  state.map.choose(rank);
  agree(rank);
}

function chooseOnMap(rank) {
  choose(rank);
  $("matches").children[rank].scrollIntoView({ block: "nearest" });
}

function chosen() {
  return [...$("matches").querySelectorAll(".match")].findIndex((button) => button.getAttribute("aria-pressed") === "true");
}

/** Lays over the photo and a match what agreed in them, where that is asked for. */
async function agree(rank) {
  state.agreeing?.abort();
  $("matches").querySelectorAll(".heat").forEach((picture) => picture.remove());
  $("photo-heat").hidden = true;
  if (!$("agreed").checked || rank < 0) {
    return;
  }
  const agreeing = (state.agreeing = new AbortController());
  try {
    const pictures = await api.heatmaps(state.file, state.type, state.answer.candidates[rank], agreeing.signal);
    const [photo, candidate] = [pictures.photo, pictures.candidate].map((data) => `data:image/png;base64,${data.b64}`);
    $("photo-heat").src = photo;
    $("photo-heat").hidden = false;
    const heat = element("img", "heat");
    heat.alt = "";
    heat.src = candidate;
    $("matches").querySelectorAll(".stack")[rank].append(heat);
  } catch (error) {
    if (error.name !== "AbortError") {
      $("agreed").checked = false;
      told(error, "What agreed cannot be shown.", true);
    }
  }
}

function offerFeedback(answer) {
  $("feedback").hidden = !state.settings.feedback || !answer.candidates.length;
  $("feedback-text").textContent = answer.known ? "Is that right?" : "Was it taken where the first match was?";
  $("feedback-question").hidden = false;
  openCorrection(false);
  $("correction").reset();
  $("thanks").textContent = "";
}

function openCorrection(is) {
  $("correction").hidden = !is;
  $("wrong").setAttribute("aria-expanded", String(is));
  if (!is) {
    state.map?.mark(null);
  }
}

/** A place on the map was clicked: the correction, if one is asked for. */
function picked(position) {
  if (!$("correction").hidden) {
    [$("first").value, $("second").value] = Object.values(position).map((value) => value.toFixed(7));
    state.map.mark(position);
  }
}

async function send(isRight) {
  const { known, map, position, uncertainty, probability, candidates } = state.answer;
  const numbers = [$("first").value, $("second").value];
  const axes = state.maps.find((one) => one.name === state.map.name).kind === "degrees" ? ["latitude", "longitude"] : ["easting", "northing"];
  const corrected = !isRight && numbers.every((value) => value !== "");
  try {
    await api.feedback({
      sha256: await sha256(state.file),
      verdict: isRight ? "right" : "wrong",
      answer: { known, map, position, uncertainty, probability, candidates: candidates.slice(0, 5).map((one) => one.name) },
      ...(corrected && { map: state.map.name, position: Object.fromEntries(axes.map((axis, i) => [axis, Number(numbers[i])])) }),
    });
  } catch (error) {
    $("thanks").textContent = `That could not be kept: ${error.message}`;
    return;
  }
  openCorrection(false);
  $("feedback-question").hidden = true;
  $("thanks").textContent = "Thank you, that is kept for the next training.";
}

/** Says what went wrong, in place of the answer or after it. */
function told(error, title, after = false) {
  if (!after) {
    $("answer").replaceChildren();
  }
  $("answer").append(failure(title, error.message));
  $("token-form").hidden = error.code !== 401;
}

function dropped(event) {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
}

for (const id of ["choose", "take"]) {
  $(id).addEventListener("change", () => {
    take($(id).files[0]);
    // The same file may be chosen once more.
    $(id).value = "";
  });
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && $("drop").classList.remove("over"));
document.addEventListener("drop", dropped);
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
$("options-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.useToken($("token").value);
  $("token-form").hidden = true;
  $("answer").replaceChildren();
  start().then(() => state.file && ask());
});
$("map-shown").addEventListener("change", async () => {
  await showMap($("map-shown").value);
  state.map.locate(state.answer);
});
$("agreed").addEventListener("change", () => agree(chosen()));
$("right").addEventListener("click", () => send(true));
$("wrong").addEventListener("click", () => {
  openCorrection($("correction").hidden);
  $("first").focus();
});
$("correction").addEventListener("submit", (event) => {
  event.preventDefault();
  send(false);
});
new ResizeObserver(() => state.map?.resized()).observe($("map"));
start();
