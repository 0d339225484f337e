// What is seen: the picture with its mask or the prediction, how near, and the brush's outline.
const BLANK = 255, NEAREST = 16;
const $ = (id) => document.getElementById(id);
const say = (text) => { $("said").textContent = text; };
const canvas = $("canvas"), pen = canvas.getContext("2d");
let state, size, place = 0, part = 1, mode = "brush", image = null, labels = null, last = null, saving = Promise.resolve();
let corners = [], pointer = null;  // of a polygon that is being drawn; where the mouse is, in pixels of the picture
let guess = null, seeing = false;  // the prediction of this picture, if there is one; whether it is shown
const painted = document.createElement("canvas");  // the mask in its colours
const view = { zoom: 1, x: 0, y: 0 };  // the pixel of the picture in the canvas's corner

const between = (value, low, high) => Math.min(Math.max(value, low), high);
const scale = () => (canvas.width / size) * view.zoom;  // of the picture's pixels in the canvas
/** Where an event is, in pixels of the picture. */
function at(event) {
  const box = canvas.getBoundingClientRect(), seen = size / view.zoom;
  return [view.x + ((event.clientX - box.left) / box.width) * seen, view.y + ((event.clientY - box.top) / box.height) * seen];
}
function move_to(x, y) {
  const most = size - size / view.zoom;
  view.x = between(x, 0, most);
  view.y = between(y, 0, most);
  show_pointer();
}
/** Nearer or farther; what is at `here` stays where it is. */
function zoom_by(factor, here = pointer ?? [view.x + size / view.zoom / 2, view.y + size / view.zoom / 2]) {
  const [x, y] = here, before = view.zoom;
  view.zoom = between(before * factor, 1, NEAREST);
  if (view.zoom < 1.02) view.zoom = 1;
  $("zoom").textContent = `${view.zoom.toFixed(view.zoom < 3 ? 1 : 0).replace(".0", "")} ×`;
  move_to(x - ((x - view.x) * before) / view.zoom, y - ((y - view.y) * before) / view.zoom);
}

/** Labels in their colours, as an image of the picture's size. */
function coloured(which, alpha) {
  const layer = new ImageData(size, size), colours = new Map(state.parts.map((each) => [each.label, each.colour]));
  for (let i = 0; i < which.length; i++) {
    if (!which[i] || (which[i] === BLANK && ((i % size) + Math.floor(i / size)) % 4)) continue;  // hatched: not labelled
    layer.data.set([...(colours.get(which[i]) ?? [0, 0, 0]), alpha], 4 * i);
  }
  return layer;
}
/** The mask's colours again, after it was changed. */
function draw() {
  if (!image) return;
  painted.width = painted.height = size;
  painted.getContext("2d").putImageData(coloured(seeing && guess ? guess : labels, Math.round(2.55 * $("cover").value)), 0, 0);
  show_pointer();
}
/** Picture, mask, and what moves with the mouse: the brush's outline, the polygon's open end. */
function show_pointer() {
  if (!image) return;
  const k = scale(), on = ([x, y]) => [(x - view.x) * k, (y - view.y) * k];
  pen.setTransform(k, 0, 0, k, -view.x * k, -view.y * k);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, 0, 0, size, size);
  pen.drawImage(painted, 0, 0, size, size);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.beginPath();
  if (mode === "brush" && pointer) pen.arc(...on(pointer), Math.max($("brush").value / 2, 0.71) * k, 0, 7);
  if (mode === "polygon") [...corners, ...(pointer && corners.length ? [pointer] : [])].forEach((each) => pen.lineTo(...on(each)));
  for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.stroke();
  }
}
