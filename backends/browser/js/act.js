// Acting on elements that are ready, and looking at single ones.

const byRef = (n) => refs.get(n)?.deref();

function valueOf(el) {
  if (!el) return '';
  if (el[own.localName] === 'select') return [...el.selectedOptions].map((o) => o.value).join(',');
  if ('value' in el && typeof el.value === 'string') return clip(el.value, 2000);
  return clip(el[own.innerText] ?? '', 2000);
}

const tell = (el, ...names) => {
  for (const n of names) {
    el[own.dispatchEvent](n === 'input' ? new InputEvent(n, { bubbles: true, composed: true }) : new Event(n, { bubbles: true }));
  }
};

function nativeSet(el, value) {
  const proto = el[own.localName] === 'textarea' ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
  Object.getOwnPropertyDescriptor(proto, 'value').set.call(el, value);
}

const TYPED = new Set(['text', 'search', 'url', 'tel', 'email', 'password', 'number', '']);

// fill selects what a field holds, so that the browser can put text in its place as
// an input method does: then beforeinput is told too, by which some editors live.
// What is no text is set here. Then done says so.
let filling = null;
function fill(n, text) {
  const el = byRef(n);
  if (!el) return { error: 'gone' };
  el[own.focus]();
  if (el[own.isContentEditable]) {
    const range = document[own.createRange]();
    range.selectNodeContents(el);
    const sel = el[own.getRootNode]()[own.getSelection]?.() ?? getSelection();
    sel.removeAllRanges();
    sel.addRange(range);
  } else if (el[own.localName] === 'textarea' || TYPED.has(el.type)) {
    el.select();
  } else {
    nativeSet(el, text); // dates, colours, ranges: a browser would offer a picker
    if (text && el.value !== text && (el.type !== 'range' && el.type !== 'color' || el.value === '')) {
      return { error: 'value', why: `an input of type ${el.type} does not take ${JSON.stringify(clip(text, 60))}` + (FORMS[el.type] ? `; give it as ${FORMS[el.type]}` : '') };
    }
    tell(el, 'input', 'change');
    return { done: true, value: valueOf(el) };
  }
  filling?.stop();
  filling = null;
  const at = el[own.getRootNode]()[own.activeElement];
  if (!at || !inside(el, at) && !inside(at, el)) return { done: true, ...filled(n, text) }; // the page took the focus away
  const f = filling = { el, told: false, stop: () => { for (const n of ['beforeinput', 'input']) removeEventListener(n, f.hear, true); } };
  f.hear = (e) => { const to = e.composedPath()[0]; if (inside(to, el) || inside(el, to)) f.told = true; };
  for (const n of ['beforeinput', 'input']) addEventListener(n, f.hear, true);
  return { done: false };
}

const FORMS = { date: '2024-12-31', time: '23:59', 'datetime-local': '2024-12-31T23:59', month: '2024-12', week: '2024-W52', color: '#1a2b3c' };

// filled tells what the field holds after the browser put text into it. Where that
// did not arrive it is put in from here.
function filled(n, text) {
  const el = byRef(n), told = filling?.told;
  filling?.stop();
  filling = null;
  if (!el) return { error: 'gone' };
  if (!told && (text || valueOf(el))) {
    if (el[own.isContentEditable]) document[own.execCommand](text ? 'insertText' : 'delete', false, text);
    else if (el.value !== text) { nativeSet(el, text); tell(el, 'input', 'change'); }
  }
  if (el.type === 'number' && text && el.value === '') return { error: 'value', why: `${JSON.stringify(clip(text, 60))} is no number` };
  return { value: valueOf(el) };
}

// focus puts the caret at the end of a field.
function focus(n) {
  const el = byRef(n);
  if (!el) return { error: 'gone' };
  el[own.focus]();
  if (el[own.isContentEditable]) {
    const sel = getSelection();
    sel.selectAllChildren(el);
    sel.collapseToEnd();
  } else if (el[own.matches]('input,textarea')) {
    try { el.setSelectionRange(el.value.length, el.value.length); } catch { /* types without a caret */ }
  }
  return { ok: true };
}

// choose selects options by value or label.
function choose(n, wanted) {
  const el = byRef(n);
  if (!el) return { error: 'gone' };
  if (el[own.localName] !== 'select') return { error: 'kind', why: 'is no select', desc: describe(el) };
  if (wanted.length > 1 && !el.multiple) return { error: 'value', why: 'one option can be selected, not several' };
  const picked = [];
  for (const w of wanted) {
    const o = [...el.options].find((o) => w.value != null ? o.value === w.value || squeeze(o.label) === w.value : squeeze(o.label) === squeeze(w.label)) ??
      [...el.options].find((o) => w.label != null && squeeze(o.label).toLowerCase() === squeeze(w.label).toLowerCase());
    if (!o) {
      return { error: 'option', why: `no option ${JSON.stringify(w.value ?? w.label)}`, list: [...el.options].slice(0, 30).map((o) => `${JSON.stringify(clip(o.value, 60))} (${clip(squeeze(o.label), 60)})`) };
    }
    if (o.disabled || o[own.parentElement].disabled) return { error: 'option', why: `option ${JSON.stringify(o.value)} is disabled` };
    picked.push(o);
  }
  el[own.focus]();
  for (const o of el.options) o.selected = picked.includes(o);
  tell(el, 'input', 'change');
  return { value: picked.map((o) => o.value).join(','), values: [...el.selectedOptions].map((o) => o.value) };
}

// checked tells whether a checkbox, radio or switch is on; null if it is none.
function checked(n) {
  const el = byRef(n);
  if (!el) return { error: 'gone' };
  if (el[own.localName] === 'input' && (el.type === 'checkbox' || el.type === 'radio')) return { checked: el.checked, radio: el.type === 'radio', ok: true };
  if (['checkbox', 'switch', 'radio', 'menuitemcheckbox', 'menuitemradio'].includes(el[own.getAttribute]('role'))) {
    return { checked: el[own.getAttribute]('aria-checked') === 'true', radio: /radio$/.test(el[own.getAttribute]('role')), ok: true };
  }
  return { error: 'kind', why: 'is no checkbox, radio button or switch', desc: describe(el) };
}

// labelOf finds what to click instead of a control that is not shown itself.
function labelOf(n) {
  const el = byRef(n);
  if (!el || visible(el)) return { ref: '' };
  const l = el.labels && [...el.labels].find(visible);
  return { ref: l ? refOf(l) : '' };
}

const value = (n) => ({ value: valueOf(n ? byRef(n) : document[own.activeElement]) });

// fileInput finds the file input that an element stands for.
function fileInput(n) {
  let el = byRef(n);
  if (!el) return { error: 'gone' };
  if (!(el[own.localName] === 'input' && el.type === 'file')) {
    const c = closest(el, 'label')?.control ?? el[own.querySelector]?.('input[type=file]');
    if (!c || c.type !== 'file') return { ok: true };
    el = c;
  }
  if (el.disabled) return { error: 'kind', why: 'is disabled', desc: describe(el) };
  return { ok: true, ref: refOf(el), multiple: el.multiple };
}

const element = (n) => byRef(n);

// boxOf measures a frame's element for its parent, and brings the point of the
// frame into view; this is the element.
function framePoint(el, x, y) {
  const at = () => {
    const r = el[own.getBoundingClientRect](), s = getComputedStyle(el);
    const kx = el.offsetWidth ? r.width / el.offsetWidth : 1, ky = el.offsetHeight ? r.height / el.offsetHeight : 1;
    return {
      x: r.left + (el.clientLeft + parseFloat(s.paddingLeft) + x) * kx,
      y: r.top + (el.clientTop + parseFloat(s.paddingTop) + y) * ky,
    };
  };
  const v = viewport();
  let p = at();
  if (p.x < 0 || p.y < 0 || p.x >= v.w || p.y >= v.h) {
    el[own.scrollIntoView]({ block: 'nearest', inline: 'nearest', behavior: 'instant' });
    p = at();
    if (p.x < 0 || p.y < 0 || p.x >= v.w || p.y >= v.h) {
      scrollBy({ left: p.x - v.w / 2, top: p.y - v.h / 2, behavior: 'instant' });
      p = at();
    }
  }
  return { ...p, why: covered(el, p.x, p.y) };
}

// watchDrag tells with dragBegan whether the page began a drag of its own.
let dragStarted = false;
function watchDrag() {
  dragStarted = false;
  addEventListener('dragstart', (e) => { dragStarted = true; setTimeout(() => { if (e.defaultPrevented) dragStarted = false; }); }, { capture: true, once: true });
}
const dragBegan = () => dragStarted;

// watchDrop tells with dropTaken whether the page takes what is dragged over it.
let takes = false;
function watchDrop() {
  takes = false;
  addEventListener('dragover', (e) => setTimeout(() => { takes = e.defaultPrevented; }), { capture: true, once: true });
}
const dropTaken = () => moment(0).then(() => takes);

const scrolled = (n) => {
  const el = n ? byRef(n) : document[own.scrollingElement];
  return nextFrame(1000).then(() => ({ x: Math.round(scrollX), y: Math.round(scrollY), height: document[own.documentElement][own.scrollHeight], ok: !!el }));
};

function scrollTo_(n) {
  const el = byRef(n);
  if (!el) return { error: 'gone' };
  el[own.scrollIntoView]({ block: 'center', inline: 'center', behavior: 'instant' });
  return { ok: true };
}

// shows reports whether the page shows the text, or an element for the selector.
function shows(spec) {
  if (spec.selector) {
    try { return { ok: bySelector(spec.selector).some(visible) }; } catch (e) { return noSelector(spec.selector, e); }
  }
  return { ok: byText(spec.text, true).length > 0 };
}

// awaitShown waits for shows to be what is wanted, for ms at most.
async function awaitShown(spec, wanted, ms) {
  const until = performance.now() + ms;
  for (let round = 0; ; round++) {
    const s = shows(spec);
    if (s.error || s.ok === wanted) return s;
    if (performance.now() >= until) return { why: 'not yet' };
    await (round < 5 ? nextFrame() : moment(Math.max(0, Math.min(100, 10 * round, until - performance.now()))));
  }
}

// box is where a picture of the element is to be taken, in the document.
function box(n) {
  const el = byRef(n);
  if (!el) return { error: 'gone' };
  el[own.scrollIntoView]({ block: 'nearest', inline: 'nearest', behavior: 'instant' });
  const r = el[own.getBoundingClientRect]();
  return { ok: true, x: r.left + scrollX, y: r.top + scrollY, w: r.width, h: r.height };
}

const pageSize = () => {
  const d = document[own.documentElement], b = document[own.body];
  return { w: Math.max(d[own.scrollWidth], b?.[own.scrollWidth] ?? 0), h: Math.max(d[own.scrollHeight], b?.[own.scrollHeight] ?? 0) };
};

const scrollPage = (x, y) => { scrollTo({ left: x, top: y, behavior: 'instant' }); return drawn(); };

// drawn waits until the page has dealt with what it was told, and was drawn.
const drawn = () => nextFrame(500).then(() => moment(0)).then(() => true);

const title = () => clip(document[own.title], 1000);

const storage = () => { try { return Object.entries(localStorage).slice(0, 1000).map(([name, value]) => ({ name, value })); } catch { return []; } };
function setStorage(items) { for (const i of items) localStorage.setItem(i.name, i.value); return { ok: true }; }
