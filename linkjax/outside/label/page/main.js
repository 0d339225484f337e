// Start, buttons and keys.
const SEARCHED = 10;  // parts beyond which they are found by name: there are ten digits

async function start() {
  state = await (await ask("/state")).json();
  size = state.size;
  canvas.width = canvas.height = Math.max(1, Math.floor(640 / size)) * size;
  state.parts.push({ name: "not labelled", colour: [255, 255, 255], label: BLANK });
  state.parts.forEach((each, index) => {
    each.label ??= index;
    const button = document.createElement("button"), swatch = document.createElement("span");
    swatch.className = each.label === BLANK ? "swatch none" : "swatch";
    if (index && each.label !== BLANK) swatch.style.background = `rgb(${each.colour})`;
    button.append(swatch, each.name);
    button.onclick = () => choose(each.label);
    each.button = button;
    $("parts").append(button);
  });
  $("find").hidden = state.parts.length <= SEARCHED;
  $("learnt").hidden = $("learnt-keys").hidden = !state.learns;
  make_list();
  choose(1);
  await show(0);
  if (state.learns) watch();
}

function choose(label) {
  part = label;
  state.parts.forEach((each) => each.button.setAttribute("aria-pressed", each.label === label));
  state.parts.find((each) => each.label === label).button.scrollIntoView({ block: "nearest" });
}
/** Parts whose names hold what was typed; Enter takes the first. */
const found = () => state.parts.filter((each) => each.name.toLowerCase().includes($("find").value.trim().toLowerCase()));
$("find").oninput = () => { const some = found(); state.parts.forEach((each) => { each.button.hidden = !some.includes(each); }); };
$("find").onkeydown = (event) => {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  const [first] = found();
  if (event.key === "Enter" && first) choose(first.label);
  $("find").value = "";
  $("find").oninput();
  $("find").blur();
};

function choose_mode(name) {
  mode = mode === name ? "brush" : name;
  corners = [];
  for (const each of ["fill", "polygon"]) $(each).setAttribute("aria-pressed", mode === each);
  show_pointer();
}
function widen(by) {
  $("brush").value = +$("brush").value + by;
  $("width").textContent = $("brush").value;
  show_pointer();
}
$("undo").onclick = undo;
$("redo").onclick = redo;
$("fill").onclick = () => choose_mode("fill");
$("polygon").onclick = () => choose_mode("polygon");
$("brush").oninput = () => widen(0);
$("cover").oninput = draw;
$("closer").onclick = () => zoom_by(1.5);
$("farther").onclick = () => zoom_by(1 / 1.5);
$("whole").onclick = () => zoom_by(0);
$("see").onclick = () => { see(!seeing); draw(); };
$("take").onclick = take;
$("next").onclick = go_to_next;
$("clear").onclick = async () => {
  const each = state.pictures[place];
  if (!(each.labelled || !unpainted()) || !confirm(`Remove the mask of ${each.stem}?`)) return;
  await saving;
  remember();
  await ask(`/mask/${each.stem}`, { method: "DELETE" });
  each.labelled = false;
  await show(place);
  thumbnail(each, image, labels);
};
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
document.onkeydown = (event) => {
  if (event.altKey || ["range", "search"].includes(event.target.type)) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" || key === "y") { event.preventDefault(); key === "y" || event.shiftKey ? redo() : undo(); }
    return;
  }
  if (event.shiftKey && event.key in MOVES) {
    event.preventDefault();
    const [x, y] = MOVES[event.key], far = size / view.zoom / 4;
    move_to(view.x + x * far, view.y + y * far);
  } else if (/^[0-9]$/.test(key) && +key < state.parts.length - 1) choose(+key);
  else if (key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); space = true; }
  else if (key === "/" && !$("find").hidden) { event.preventDefault(); $("find").focus(); }
  else if (key === "[") widen(-1);
  else if (key === "]") widen(1);
  else if (key === "+" || key === "=") zoom_by(1.5);
  else if (key === "-") zoom_by(1 / 1.5);
  else if (key === "home") { event.preventDefault(); zoom_by(0); }
  else if (key === "n") choose(BLANK);
  else if (key === "f") choose_mode("fill");
  else if (key === "g") choose_mode("polygon");
  else if (key === "s" && state.learns) { see(!seeing); draw(); }
  else if (key === "t" && state.learns) take();
  else if (key === "x" && state.learns) go_to_next();
  else if (key === "enter" && corners.length) { event.preventDefault(); paint_polygon(); }
  else if (key === "escape") { corners = []; show_pointer(); }
  else if (key === "z") event.shiftKey ? redo() : undo();
  else if (key === "y") redo();
  else if (key === "arrowright" && place + 1 < state.pictures.length) show(place + 1);
  else if (key === "arrowleft" && place) show(place - 1);
};
document.onkeyup = (event) => { if (event.key === " ") space = false; };
start().catch((error) => say(error.message));
