// What the server is asked.

/** What the server said was wrong, or that it did not answer. */
export class Refused extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

const PHOTOS = [
  ["image/jpeg", [0xff, 0xd8, 0xff]],
  ["image/png", [0x89, 0x50, 0x4e, 0x47]],
  ["image/gif", [0x47, 0x49, 0x46, 0x38]],
  ["image/webp", [0x52, 0x49, 0x46, 0x46, null, null, null, null, 0x57, 0x45, 0x42, 0x50]],
];

let token = "";

/** For servers that ask for one; kept as long as the page is open. */
export function useToken(text) {
  token = text;
}

/** Media type of a photo by its first bytes, for names and types lie; null for what is no photo the server reads. */
export async function photoType(file) {
  const head = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  const known = PHOTOS.find(([, bytes]) => bytes.every((byte, i) => byte === null || byte === head[i]));
  return known ? known[0] : null;
}

export function settings() {
  return json("page/settings.json");
}

export function maps() {
  return json("v1/maps");
}

export function track(name) {
  return json(`v1/maps/${encodeURIComponent(name)}/track`);
}

/** The answer for one photo. `options`: names to values; what is empty is left out. */
export async function localize(photo, type, options, signal) {
  const query = new URLSearchParams(Object.entries(options).filter(([, value]) => value !== ""));
  const answers = await json(`v1/localize?${query}`, { method: "POST", body: photo, headers: { "Content-Type": type }, signal });
  const [answer] = answers.answers;
  if (answer.error) {
    throw new Refused(answer.error, 400);
  }
  return answer;
}

/** Two pictures to lay over the photo and the candidate, of what in them agreed. */
export function heatmaps(photo, type, candidate, signal) {
  const query = new URLSearchParams({ map: candidate.map, name: candidate.name });
  return json(`v1/heatmaps?${query}`, { method: "POST", body: photo, headers: { "Content-Type": type }, signal });
}

export function feedback(contents) {
  const headers = { "Content-Type": "application/json" };
  return json("v1/feedback", { method: "POST", body: JSON.stringify(contents), headers });
}

/** Address of a picture for an image element. Where there is a token it is fetched, which an element does without. */
export async function pictureAddress(path) {
  const address = path.replace(/^\//, "");
  return token ? URL.createObjectURL(await (await ask(address)).blob()) : address;
}

async function json(address, request) {
  return (await ask(address, request)).json();
}

async function ask(address, request = {}) {
  const headers = { ...request.headers };
  if (token) {
    headers.Authorization = `Bearer ${token}`;
  }
  let response;
  try {
    response = await fetch(address, { ...request, headers });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Refused("The server does not answer. Is it running, and is this machine connected to it?", 0);
  }
  if (response.ok) {
    return response;
  }
  let text = `The server answered with code ${response.status}.`;
  try {
    text = (await response.json()).error ?? text;
  } catch {
    // Something between here and the server answered, in a form of its own.
  }
  throw new Refused(text, response.status);
}
