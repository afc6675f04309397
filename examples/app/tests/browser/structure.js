const wrong = [];
const say = (sentence, element) =>
  wrong.push(element ? `${sentence}: ${element.outerHTML.slice(0, 160)}` : sentence);
const all = (selector) => [...document.querySelectorAll(selector)];

if (document.documentElement.lang !== "en") say("the page has no language");
if (!document.title.trim()) say("the page has no title");
for (const [selector, count] of [["h1", 1], ["main", 1], ["header", 1], ["footer", 1]]) {
  if (all(`body ${selector}`).length !== count) say(`there is not one ${selector}`);
}

let level = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6")) {
  const next = Number(heading.tagName[1]);
  if (next > level + 1) say(`a heading skips from ${level}`, heading);
  level = next;
}

const ids = all("[id]").map((it) => it.id);
for (const id of new Set(ids)) {
  if (ids.indexOf(id) !== ids.lastIndexOf(id)) say(`two have the id ${id}`);
}
for (const element of all("[aria-labelledby]")) {
  for (const id of element.getAttribute("aria-labelledby").split(" ")) {
    if (!document.getElementById(id)?.textContent.trim()) say(`${id} names nothing`, element);
  }
}

for (const image of all("img, svg[role=img]")) {
  if (!image.getAttribute("alt") && !image.getAttribute("aria-labelledby")) say("no name", image);
}
for (const image of all("svg")) {
  if (!image.closest("[role=img]")) say("a picture is no picture", image);
}
for (const table of all("table")) {
  if (!table.querySelector("thead th[scope=col]")) say("columns without heads", table);
  for (const row of table.querySelectorAll("tbody tr")) {
    if (!row.querySelector("th[scope=row]")) say("a row without a head", row);
  }
}

// What changes each second must not be read out each second.
const live = all("[aria-live], [role=status], [role=alert]").map((it) => it.id);
if (live.join() !== "overall,db0-state") say(`these are read out: ${live}`);
if (all("[tabindex]").length) say("the order of the keyboard is not that of the page");
return wrong;
