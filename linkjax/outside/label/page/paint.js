// What changes a mask: brush, fill, polygon, the prediction taken over, and the way back.
const MOST_STEPS = 50;
const steps = new Map();  // of each picture: {past, future}, masks before and after
let order = [];  // of strokes: the picture each was made in
const touches = new Map();  // fingers on the canvas: where each is
let dragged = null, space = false;  // the last place of a drag that moves the picture; whether Space is held

function dab(x, y) {
  const radius = $("brush").value / 2;
  for (let v = Math.floor(y - radius); v <= y + radius; v++) {
    for (let u = Math.floor(x - radius); u <= x + radius; u++) {
      const inside = (u + 0.5 - x) ** 2 + (v + 0.5 - y) ** 2 <= Math.max(radius, 0.71) ** 2;
      if (inside && u >= 0 && v >= 0 && u < size && v < size) labels[v * size + u] = part;
    }
  }
}

/** Paint the pixels whose centres lie inside the polygon (an odd number of its edges to their left). */
function paint_polygon() {
  if (corners.length < 3) return;
  remember();
  for (let v = 0; v < size; v++) {
    const crossed = [];
    corners.forEach(([x, y], k) => {
      const [u, w] = corners[(k + 1) % corners.length];
      if ((y <= v + 0.5) !== (w <= v + 0.5)) crossed.push(x + ((v + 0.5 - y) / (w - y)) * (u - x));
    });
    crossed.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossed.length; k += 2) {
      for (let u = Math.max(0, Math.ceil(crossed[k] - 0.5)); u < size && u + 0.5 < crossed[k + 1]; u++) labels[v * size + u] = part;
    }
  }
  corners = [];
  draw();
  store();
}

function flood(x, y) {
  const first = Math.floor(y) * size + Math.floor(x), old = labels[first], todo = [first];
  if (old === part) return;
  while (todo.length) {
    const i = todo.pop();
    if (labels[i] !== old) continue;
    labels[i] = part;
    if (i % size) todo.push(i - 1);
    if ((i + 1) % size) todo.push(i + 1);
    if (i >= size) todo.push(i - size);
    if (i < size * (size - 1)) todo.push(i + size);
  }
}

function store() {
  const each = state.pictures[place], body = labels.slice();
  thumbnail(each, image, body);
  saving = saving.then(() => ask(`/mask/${each.stem}`, { method: "PUT", body }))
    .then((answer) => answer.json())
    .then((stored) => { each.labelled = stored.labelled; say(""); list(); })
    .catch((error) => say(`not stored: ${error.message}`));
}

const unpainted = () => labels.every((each) => each === state.unpainted);
/** Keep the mask as it is, to come back to; what was undone is given up. Who paints on a prediction begins with it. */
function remember() {
  const { past } = own_steps();
  steps.set(place, { past: [...past.slice(1 - MOST_STEPS), labels.slice()], future: [] });
  order = [...order.slice(1 - 10 * MOST_STEPS), place];
  if (seeing && guess && unpainted()) labels = guess.slice();
  see(false);
}
const own_steps = () => steps.get(place) ?? { past: [], future: [] };

/** Where nothing is painted, what is predicted. */
function take() {
  if (!guess) return;
  const own = guess;
  remember();
  labels = labels.map((each, i) => (each === state.unpainted ? own[i] : each));
  draw();
  store();
}

canvas.onpointerdown = (event) => {
  if (!labels) return;
  if (event.pointerType === "touch") touches.set(event.pointerId, [event.clientX, event.clientY]);
  if (touches.size === 2 && last) {  // a second finger: no stroke was meant
    labels = own_steps().past.pop();
    last = null;
    draw();
  }
  if (touches.size > 1) return;
  if (event.button === 1 || (space && !event.button)) {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    dragged = at(event);
    return;
  }
  if (event.button) return;
  const [x, y] = at(event);
  if (mode === "polygon") {
    const [first] = corners, near = 8 * (size / view.zoom / canvas.getBoundingClientRect().width);
    if (corners.length > 2 && Math.hypot(x - first[0], y - first[1]) < near) paint_polygon();
    else corners.push([x, y]);
    show_pointer();
    return;
  }
  remember();
  if (mode === "fill") {
    if (x >= 0 && y >= 0 && x < size && y < size) flood(x, y);
    store();
  } else {
    canvas.setPointerCapture(event.pointerId);
    last = [x, y];
    dab(x, y);
  }
  draw();
};
canvas.onpointermove = (event) => {
  if (event.pointerType !== "touch") pointer = at(event);
  if (touches.size === 2 && touches.has(event.pointerId)) return pinch(event);
  if (dragged) {
    const [x, y] = at(event);
    return move_to(view.x + dragged[0] - x, view.y + dragged[1] - y);
  }
  if (!last) return show_pointer();
  const [x, y] = at(event), dabs = Math.max(1, Math.ceil(2 * Math.hypot(x - last[0], y - last[1])));
  for (let i = 1; i <= dabs; i++) dab(last[0] + ((x - last[0]) * i) / dabs, last[1] + ((y - last[1]) * i) / dabs);
  last = [x, y];
  draw();
};
/** Two fingers move the picture, and bring it nearer as they part. */
function pinch(event) {
  const middle = () => { const [a, b] = [...touches.values()]; return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.hypot(a[0] - b[0], a[1] - b[1])]; };
  const [x, y, apart] = middle();
  touches.set(event.pointerId, [event.clientX, event.clientY]);
  const [x2, y2, apart2] = middle(), from = at({ clientX: x, clientY: y });
  if (apart > 0) zoom_by(apart2 / apart, from);
  const to = at({ clientX: x2, clientY: y2 });
  move_to(view.x + from[0] - to[0], view.y + from[1] - to[1]);
}
canvas.onpointerup = canvas.onpointercancel = (event) => {
  touches.delete(event.pointerId);
  dragged = null;
  if (!last) return;
  last = null;
  store();
};
canvas.onpointerleave = () => { pointer = null; show_pointer(); };
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom_by(Math.exp(-event.deltaY / 300), at(event)); }, { passive: false });

/** One step back, or forward again, in this picture; what was done to others meanwhile stays. */
function step(from, to) {
  const own = own_steps();
  if (last || !own[from].length) return;
  own[to].push(labels.slice());
  labels = own[from].pop();
  steps.set(place, own);
  see(false);
  draw();
  store();
}
/** Where this picture has nothing to take back, go to the one painted last that has. */
async function undo() {
  if (corners.length) { corners.pop(); return show_pointer(); }
  if (own_steps().past.length) return step("past", "future");
  const before = order.findLast((each) => steps.get(each)?.past.length);
  if (before === undefined || last) return;
  await show(before);
  say(`nothing to undo there; here is what was painted before, in ${state.pictures[before].stem}`);
}
const redo = () => step("future", "past");
