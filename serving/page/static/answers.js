// The answer in words, and the matches. Names come from strangers: they are set as text, never as HTML.

import { pictureAddress } from "./api.js";

const POINTS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];

/** An element with a class and a text. */
export function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

/** Metres as people say them. */
export function metres(value) {
  if (value < 10) {
    return `${value.toFixed(1)}\u00a0m`;
  }
  return value < 10_000 ? `${Math.round(value)}\u00a0m` : `${(value / 1000).toFixed(value < 100_000 ? 1 : 0)}\u00a0km`;
}

export function place(position) {
  if ("latitude" in position) {
    return `${position.latitude.toFixed(6)}, ${position.longitude.toFixed(6)}`;
  }
  return `${position.easting.toFixed(1)}\u00a0m\u00a0east, ${position.northing.toFixed(1)}\u00a0m\u00a0north`;
}

function percent(share) {
  return share > 0.995 ? "more than 99\u00a0%" : `${Math.round(100 * share)}\u00a0%`;
}

/** What the answer says, as an element. */
export function verdict(answer, precision) {
  const { known, position, probability, uncertainty, candidates } = answer;
  const box = element("div", known ? "verdict" : "verdict unknown");
  if (known) {
    box.append(element("strong", "", place(position)));
    if (uncertainty !== null && probability !== null) {
      box.append(element("span", "", `Within ${metres(uncertainty)} nine times of ten; right with a probability of ${percent(probability)}.`));
    } else {
      box.append(element("span", "", "This map is not calibrated: nothing says how sure that is."));
    }
    return box;
  }
  box.append(element("strong", "", "I don’t know where this was taken."));
  let why = "No photo of the map is there to compare it with.";
  if (candidates.length) {
    why = "The most similar photos are shown all the same.";
    if (probability !== null) {
      why = `The best guess is right with a probability of ${percent(probability)}, too little where ${percent(precision)} of the answers should be right. ${why}`;
    }
  }
  box.append(element("span", "", why));
  return box;
}

/** What went wrong, as an element. */
export function failure(title, text) {
  const box = element("div", "verdict error");
  box.append(element("strong", "", title), element("span", "", text));
  return box;
}

/** One match, as an element of the list. */
export function match(candidate, rank, several, choose) {
  const button = element("button", "match");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  const stack = element("span", "stack");
  if (candidate.thumbnail) {
    const picture = element("img", "");
    picture.alt = "";
    picture.loading = "lazy";
    picture.decoding = "async";
    // A photo without a picture is a match all the same.
    picture.addEventListener("error", () => picture.remove());
    pictureAddress(candidate.thumbnail).then((address) => (picture.src = address), () => picture.remove());
    stack.append(picture);
  }
  stack.append(element("span", "rank", String(rank + 1)));
  button.append(stack, facts(candidate, several));
  button.addEventListener("click", () => choose(rank));
  const item = element("li", "");
  item.append(button);
  return item;
}

function facts(candidate, several) {
  const { name, score, distance, heading, timestamp, map } = candidate;
  const box = element("span", "facts");
  const title = element("span", "name", name.split("/").at(-1));
  title.title = name;
  const meter = element("span", "meter");
  const bar = element("i", "");
  bar.style.width = `${Math.round(100 * Math.min(1, Math.max(0, score)))}%`;
  meter.append(bar);
  box.append(title, element("span", "score", `similarity ${score.toFixed(3)}`), meter);
  if (distance !== null) {
    box.append(element("span", "quiet", `${metres(distance)} from the answer`));
  }
  if (heading !== null) {
    box.append(facing(heading));
  }
  const others = [timestamp?.replace("T", " "), several && map].filter(Boolean);
  if (others.length) {
    box.append(element("span", "quiet", others.join(" · ")));
  }
  return box;
}

function facing(heading) {
  const box = element("span", "quiet", ` facing ${POINTS[Math.round(heading / 45) & 7]}, ${Math.round(heading)}°`);
  const arrow = element("i", "arrow", "↑");
  arrow.ariaHidden = "true";
  arrow.style.transform = `rotate(${heading}deg)`;
  box.prepend(arrow);
  return box;
}
