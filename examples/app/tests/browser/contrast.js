const parse = (color) => {
  const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
  return { rgb: [r, g, b], a };
};
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { rgb, a } = parse(getComputedStyle(at).backgroundColor);
    if (a === 1) return rgb;
  }
  return [255, 255, 255];
};

const wrong = [];
let count = 0;
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((it) => it.nodeType === 3 && it.data.trim());
  if (!own || element.matches(".unseen, title, desc")) continue;
  const style = getComputedStyle(element);
  const color = element instanceof SVGElement ? style.fill : style.color;
  const lights = [luminance(parse(color).rgb), luminance(behind(element))].sort();
  const ratio = (lights[1] + 0.05) / (lights[0] + 0.05);
  count += 1;
  // Of WCAG 2.2, level AA, for text of the usual size.
  if (ratio < 4.5) wrong.push(`${ratio.toFixed(2)}: ${element.outerHTML.slice(0, 160)}`);
}
if (count < 40) wrong.push(`only ${count} texts were looked at`);
return wrong;
