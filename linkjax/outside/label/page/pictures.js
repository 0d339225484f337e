// The pictures: one that is open, all in thumbnails, and what a segmenter has learnt from those that are painted.
const SMALL = 48, AGAIN = 1000;  // pixels; milliseconds between two looks at what was learnt
// the token leaves the address bar, and stays with this tab: reloading the page asks for nothing
const given = new URLSearchParams(location.search).get("token");
if (given) sessionStorage.setItem("token", given);
const TOKEN = sessionStorage.getItem("token") ?? "";
history.replaceState(null, "", "/");
let learnt = { version: -1 };

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "X-Linkjax-Token": TOKEN } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}
/** A picture, and its mask as it is stored. */
async function load(stem) {
  const [picture, mask] = await Promise.all([ask(`/picture/${stem}`), ask(`/mask/${stem}`)]);
  const [decoded, stored] = await Promise.all([createImageBitmap(await picture.blob()), mask.arrayBuffer()]);
  return [decoded, stored.byteLength ? new Uint8Array(stored) : new Uint8Array(size * size).fill(state.unpainted)];
}

function list() {
  state.pictures.forEach((each, index) => {
    each.text.textContent = `${each.labelled ? "✓" : "○"} ${each.stem}`;
    each.button.setAttribute("aria-current", index === place);
    each.button.setAttribute("aria-label", `${each.stem}, ${each.labelled ? "labelled" : "no mask"}`);
  });
}
function thumbnail(each, picture, mask) {
  const layer = document.createElement("canvas"), small = each.small.getContext("2d");
  layer.width = layer.height = size;
  layer.getContext("2d").putImageData(coloured(mask, each.labelled || mask.some((one) => one !== state.unpainted) ? 150 : 0), 0, 0);
  for (const one of [picture, layer]) small.drawImage(one, 0, 0, SMALL, SMALL);
}
/** A button for each picture; what it shows is read when it is first seen. */
function make_list() {
  const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    seen.unobserve(target);
    const each = state.pictures[target.dataset.place];
    load(each.stem).then(([picture, mask]) => thumbnail(each, picture, mask), () => {});
  }), { root: $("pictures"), rootMargin: "200px" });
  state.pictures.forEach((each, index) => {
    each.button = document.createElement("button");
    each.text = document.createElement("span");
    each.small = document.createElement("canvas");
    each.small.width = each.small.height = SMALL;
    each.button.append(each.small, each.text);
    each.button.dataset.place = index;
    each.button.onclick = () => show(index);
    $("pictures").append(each.button);
    seen.observe(each.button);
  });
}

async function show(index) {
  await saving;
  place = index;
  const [decoded, stored] = await load(state.pictures[index].stem);
  if (place !== index) return;  // another was chosen meanwhile
  image = decoded;
  labels = stored;
  corners = [];
  guess = null;
  see(false);
  list();
  state.pictures[index].button.scrollIntoView({ block: "nearest", inline: "nearest" });
  draw();
  await read_guess();
}

/** What is predicted for the open picture; shown at once where nothing is painted. */
async function read_guess() {
  if (!learnt.by) return;
  const index = place, found = await (await ask(`/prediction/${state.pictures[index].stem}`)).arrayBuffer();
  if (place !== index || last) return;
  guess = found.byteLength ? new Uint8Array(found) : null;
  see(guess !== null && (seeing || unpainted()));
  draw();
}
function see(on) {
  seeing = on && guess !== null;
  $("see").setAttribute("aria-pressed", seeing);
  for (const id of ["see", "take"]) $(id).disabled = guess === null;
}
/** Look what was learnt, again and again. */
async function watch() {
  try {
    const found = document.hidden ? learnt : await (await ask("/learnt")).json(), anew = found.version !== learnt.version;
    learnt = found;
    $("learnt-by").textContent = [told(), learnt.said, learnt.learning ? "learning …" : ""].filter(Boolean).join(" · ");
    $("next").hidden = !learnt.next;
    $("next").textContent = `paint next: ${learnt.next}`;
    if (anew) await read_guess();
  } catch (error) { say(error.message); }
  setTimeout(watch, AGAIN);
}
function told() {
  const overlap = learnt.iou === null ? "" : `, overlap with ${learnt.by === "masks" ? "held-out" : "your"} masks ${learnt.iou.toFixed(2)}`;
  if (learnt.by === "masks") return `Predicted from ${learnt.masks} of your masks${overlap}`;
  return learnt.by === "segmenter" ? `Predicted by the segmenter given${overlap}` : "Nothing is predicted yet: paint a picture";
}
const go_to_next = () => { const found = state.pictures.findIndex((each) => each.stem === learnt.next); if (found >= 0) show(found); };
