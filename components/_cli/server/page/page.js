"use strict";
// Asks the server about a text, and about the text without each of its words. Everything shown is
// set as text, never as HTML.
const SHOWN = 10; // labels
const MOST_PIECES = 60; // of a text that are left out one after the other
const element = (id) => document.getElementById(id);
let thresholds = {};

async function predict(texts, params) {
  const answer = await fetch("invocations", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ inputs: { text: texts }, params }),
  });
  const found = await answer.json().catch(() => ({ message: `The server said ${answer.status}.` }));
  if (!answer.ok) throw new Error(found.message);
  return found.predictions;
}

function say(text, isError = false) {
  element("status").textContent = text;
  element("status").classList.toggle("error", isError);
}

async function loadModel() {
  const found = await (await fetch("model")).json();
  thresholds = found.thresholds;
  element("model").textContent = found.model;
  element("count").textContent = Object.keys(thresholds).length.toLocaleString("en");
}

function cell(row, text, isNumber = false) {
  const made = row.insertCell();
  made.textContent = text;
  if (isNumber) made.className = "number";
  return made;
}

function showLabels(text, found) {
  element("rows").replaceChildren();
  found.labels.forEach((label, at) => {
    const threshold = thresholds[label] ?? NaN;
    const given = found.scores[at] >= threshold;
    const row = element("rows").insertRow();
    row.className = given ? "given" : "";
    cell(row, label);
    cell(row, found.scores[at].toFixed(3), true);
    cell(row, threshold.toFixed(3), true);
    cell(row, given ? "yes" : "no");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "words";
    button.setAttribute("aria-label", `Words for ${label}`);
    button.addEventListener("click", () => showWords(text, label, found.scores[at]));
    cell(row, "").append(button);
  });
  element("result").hidden = false;
  ["words-title", "words-hint"].forEach((id) => { element(id).hidden = true; });
  element("words").replaceChildren();
}

// Words with the white space before them; several as one piece where the text is long.
function pieces(text) {
  const words = text.match(/\s*\S+/g) ?? [];
  const size = Math.ceil(words.length / MOST_PIECES);
  const found = [];
  for (let at = 0; at < words.length; at += size) found.push(words.slice(at, at + size).join(""));
  return found;
}

async function showWords(text, label, score) {
  say("Leaving out one word after the other …");
  try {
    const parts = pieces(text);
    const without = parts.map((_, at) => parts.filter((_, other) => other !== at).join(""));
    const rows = await predict(without, { threshold: 0 });
    const drops = rows.map((row) => score - (row.scores[row.labels.indexOf(label)] ?? 0));
    const most = Math.max(...drops.map(Math.abs), 1e-9);
    element("words").replaceChildren(...parts.map((part, at) => {
      const span = document.createElement("span");
      const share = Math.abs(drops[at]) / most;
      if (share > 0.2) span.className = drops[at] > 0 ? "push" : "pull";
      if (share > 0.6) span.classList.add("strong");
      span.textContent = part;
      span.title = `${drops[at] >= 0 ? "−" : "+"}${Math.abs(drops[at]).toFixed(3)} without it`;
      return span;
    }));
    element("words-title").textContent = `Words for ${label}`;
    ["words-title", "words-hint"].forEach((id) => { element(id).hidden = false; });
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = element("form").querySelector("button");
  const text = element("text").value;
  if (!text.trim()) return say("Write a text first.", true);
  button.disabled = true;
  say("Asking …");
  try {
    const [found] = await predict([text], { threshold: 0, top_k: SHOWN });
    await loadModel(); // the champion may have changed
    showLabels(text, found);
    say("");
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
});

element("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.ctrlKey) element("form").requestSubmit();
});

loadModel().catch((error) => say(error.message, true));
