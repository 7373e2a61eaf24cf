"use strict";

// All state is on the server: the page asks for the next trial, shows it and sends the answer until there is none left.

// Answers by key, beside the grades 1 to 5; of two images one above the other the left one is the upper one.
const KEYS = { ArrowLeft: "left", ArrowUp: "left", ArrowRight: "right", ArrowDown: "right", " ": "same" };
const LABELS = { left: ["left", "←"], right: ["right", "→"], same: ["same", "space"] };
const STACKED = { ...LABELS, left: ["upper", "↑"], right: ["lower", "↓"] };
const RETRY = 1500; // milliseconds until a request is sent again
const WAITING = "No connection to the experiment. Waiting for it; the answers you have given are stored.";
const pause = () => new Promise((resolve) => setTimeout(resolve, RETRY));
const element = (id) => document.getElementById(id);
let about, token, trial, shownAt, busy = true;

async function ask(address, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  for (;;) {
    try {
      const response = await fetch(address, options);
      if (response.status < 500) {
        tell("");
        if (response.ok) return response.json();
        throw Object.assign(new Error((await response.json()).error), { status: response.status });
      }
    } catch (error) {
      if (error.status) throw error;
    }
    tell(WAITING);
    await pause();
  }
}

function tell(text) {
  element("trouble").textContent = text;
  element("trouble").hidden = !text;
}

function show(section) {
  for (const id of ["welcome", "trial", "end"]) element(id).hidden = id !== section;
}

async function begin() {
  about = await ask("about");
  element("title").textContent = document.title = about.title;
  element("progress").max = about.n_trials;
  element("task").textContent = about.method === "rating"
    ? `You will see ${about.n_trials} images, one at a time, and rate the quality of each.`
    : `You will see ${about.n_trials} pairs of images, and choose from each the one of better quality.`;
  makeAnswers();
  token = localStorage.getItem(storageKey());
  if (!token) return show("welcome");
  try {
    await present(await ask(`participants/${token}/next`));
  } catch (error) {
    localStorage.removeItem(storageKey()); // the answers' file is another one now
    show("welcome");
  }
}

const storageKey = () => `experiment ${about.title}`;

async function start() {
  if (element("welcome").hidden) return;
  element("welcome").hidden = true;
  token = (await ask("participants", {})).token;
  localStorage.setItem(storageKey(), token);
  await present(await ask(`participants/${token}/next`));
}

function makeAnswers() {
  for (const answer of about.answers) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.answer = answer;
    button.addEventListener("click", () => give(answer));
    element("answers").append(button);
  }
  label(LABELS);
}

function label(names) {
  for (const button of element("answers").children) {
    const answer = button.dataset.answer, key = document.createElement("kbd");
    const [text, keyName] = names[answer] || [about.grades[answer - 1], answer];
    key.textContent = keyName;
    button.replaceChildren(text, key);
  }
}

async function present(next) {
  trial = next;
  element("progress").hidden = false;
  element("progress").value = next.done ? next.n_trials : next.trial;
  if (next.done) return show("end");
  element("question").textContent = next.check
    ? `Attention check: please answer “${LABELS[next.check]?.[0] || about.grades[next.check - 1]}”.`
    : (next.is_training ? "For practice: " : "") + next.question;
  const images = await Promise.all(next.images.map(load));
  images.forEach((image, i) => { image.alt = images.length === 2 ? ["Left image", "Right image"][i] : "Image to judge"; });
  element("images").replaceChildren(...images);
  show("trial");
  fit();
  shownAt = performance.now();
  element("trial").dataset.number = trial.trial;
  setBusy(false);
}

async function load(address) {
  for (;;) {
    const image = Object.assign(new Image(), { src: address });
    try {
      await image.decode();
      tell("");
      return image;
    } catch {
      tell(WAITING);
      await pause();
    }
  }
}

// One pixel of an image is one pixel of the screen, whatever the display's scaling: of that size, and not between two.
function fit() {
  const images = [...element("images").children];
  for (const image of images) {
    Object.assign(image.style, { width: `${image.naturalWidth / devicePixelRatio}px`, left: 0, top: 0 });
  }
  for (const image of images) {
    const { left, top } = image.getBoundingClientRect();
    Object.assign(image.style, { left: `${toPixel(left)}px`, top: `${toPixel(top)}px` });
  }
  label(images.length === 2 && images[1].offsetTop >= images[0].offsetTop + images[0].offsetHeight ? STACKED : LABELS);
  const room = document.documentElement.clientWidth;
  const widest = Math.max(0, ...images.map((image) => image.naturalWidth / devicePixelRatio));
  element("notice").textContent = widest > room
    ? "This image is wider than the window: enlarge the window, or move the image to see all of it." : "";
}

const toPixel = (place) => Math.round(place * devicePixelRatio) / devicePixelRatio - place;

function setBusy(state) {
  busy = state;
  for (const button of element("answers").children) button.disabled = state;
}

async function give(answer) {
  if (busy) return;
  const seconds = (performance.now() - shownAt) / 1000;
  setBusy(true);
  try {
    await present(await ask(`participants/${token}/answers`, {
      trial: trial.trial, answer, seconds, pixel_ratio: devicePixelRatio, window_width: innerWidth, window_height: innerHeight,
    }));
  } catch (error) { // another window of this participant is ahead
    await present(await ask(`participants/${token}/next`));
  }
}

addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && !element("welcome").hidden) start();
  const answer = KEYS[event.key] || event.key;
  if (element("trial").hidden || !about.answers.includes(answer)) return;
  event.preventDefault();
  give(answer);
});
addEventListener("resize", fit);
element("start").addEventListener("click", start);
begin();
