// Finding elements and waiting until they can take an action. The files of
// this directory run together in a world of their own in every frame, which the
// page's scripts can neither see nor change.

const refs = new Map(); // number -> WeakRef
const numbers = new WeakMap(); // element -> number
let lastRef = 0;

function refOf(el) {
  let n = numbers.get(el);
  if (!n) {
    n = ++lastRef;
    numbers.set(el, n);
    refs.set(n, new WeakRef(el));
  }
  return 'e' + n;
}

const clip = (s, n) => { s = String(s); return s.length > n ? s.slice(0, n) + '…' : s; };
const squeeze = (s) => String(s).replace(/[\s\u00a0\u200b]+/g, ' ').trim();

// describe names an element for people: <button id=save> "Save".
function describe(el) {
  if (!el || el[own.nodeType] !== 1) return 'nothing';
  let s = '<' + el[own.localName];
  for (const a of ['id', 'class', 'name', 'type', 'role']) {
    const v = el[own.getAttribute](a);
    if (v) s += ' ' + a + '=' + (/^[\w\-]+$/.test(v) ? clip(v, 60) : JSON.stringify(clip(v, 60)));
  }
  s += '>';
  const text = squeeze(clip(el[own.innerText] ?? el[own.textContent] ?? '', 200));
  return text ? s + ' ' + JSON.stringify(clip(text, 40)) : s;
}

// parentOf goes up as things are shown: out of slots and shadow trees.
const parentOf = (n) => n[own.assignedSlot] || n[own.parentElement] || (n[own.getRootNode]()[own.host] ?? null);

function inside(el, outer) {
  for (let e = el; e; e = parentOf(e)) if (e === outer) return true;
  return false;
}

function closest(el, selector) {
  for (let e = el; e; e = parentOf(e)) if (e[own.matches](selector)) return e;
  return null;
}

// rectOf is the largest of the element's boxes.
function rectOf(el) {
  let best = null;
  for (const r of el[own.getClientRects]()) if (!best || r.width * r.height > best.width * best.height) best = r;
  if ((!best || !best.width || !best.height) && getComputedStyle(el).display === 'contents') {
    for (const c of el[own.children]) { const r = rectOf(c); if (r && (!best || r.width * r.height > best.width * best.height)) best = r; }
  }
  return best;
}

function visible(el) {
  if (!el[own.checkVisibility]({ visibilityProperty: true })) {
    return el[own.isConnected] && getComputedStyle(el).display === 'contents' && [...el[own.children]].some(visible);
  }
  const r = rectOf(el);
  return !!r && r.width > 0 && r.height > 0;
}

// HOSTS are elements that can have a shadow tree: those that the standard names, and
// all that it does not know. The others of a large page are passed over by the
// browser itself.
const HOSTS = ':not(a,abbr,b,br,button,caption,cite,code,col,dd,del,dl,dt,em,figure,form,g,hr,i,img,input,ins,label,li,link,meta,ol,option,path,pre,rect,s,script,select,small,strong,style,sub,summary,sup,svg,table,tbody,td,textarea,tfoot,th,thead,tr,u,ul,use)';

// roots lists the document and the open shadow roots below a node.
function roots(from) {
  const all = [from];
  if (from[own.shadowRoot]) all.push(from[own.shadowRoot]);
  for (let i = 0; i < all.length && i < 5000; i++) {
    for (const el of all[i][own.querySelectorAll](HOSTS)) if (el[own.shadowRoot]) all.push(el[own.shadowRoot]);
  }
  return all;
}

function bySelector(selector) {
  let scope = [document];
  for (const part of selector.split(/\s*>>\s*/)) {
    const next = new Set();
    for (const s of scope) for (const r of roots(s)) for (const el of r[own.querySelectorAll](part)) next.add(el);
    scope = [...next];
  }
  return scope;
}

// noSelector is the answer to what the browser does not take for a selector.
function noSelector(selector, e) {
  const more = /:has-text|:text|:visible|^\s*(text|role|xpath|css|id)=|^\s*\/\/|>>>|getBy/.test(selector) ? '; it must be plain CSS: for what an element shows give text instead' : '';
  return { error: 'selector', why: clip(e.message, 300) + more };
}

const SILENT = new Set(['script', 'style', 'noscript', 'template', 'head', 'title', 'meta', 'link']);
const UNSAID = [...SILENT].join(',');
const LABELS = ['aria-label', 'placeholder', 'alt', 'title'];
const BUTTONS = new Set(['submit', 'button', 'reset']);

// said is the text of an element without scripts and the like, which its
// textContent has.
function said(el) {
  if (!el[own.querySelector](UNSAID)) return el[own.textContent];
  const walk = document[own.createTreeWalker](el, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (n) =>
    n[own.nodeType] === 1 && SILENT.has(n[own.localName]) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  let text = '';
  for (let n = walk.nextNode(); n; n = walk.nextNode()) if (n[own.nodeType] === 3) text += n.data;
  return text;
}

// byText returns the smallest elements that show the text: those that show it
// exactly, else in another case, else within more. With any the first will do.
function byText(text, any) {
  const want = squeeze(text), low = want.toLowerCase();
  if (!want) return [];
  const shown = (list) => any ? [list.find(visible)].filter(Boolean) : list.filter(visible);
  const found = [[], [], []], all = roots(document);
  const above = new Set(); // what holds a match that its own text does not tell of
  // Most of a large page is turned down by this alone, without a copy of its text.
  const like = new RegExp(low.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replaceAll(' ', '[\\s\\u00a0\\u200b]+'), 'i');
  const rank = (s) => {
    if (!like.test(s)) return -1;
    s = squeeze(s);
    if (s === want) return 0;
    const l = s.toLowerCase();
    return l === low ? 1 : l.includes(low) ? 2 : -1;
  };
  const mark = (el) => { for (let e = hostOrParent(el); e && !above.has(e); e = hostOrParent(e)) above.add(e); };
  const visit = (node, depth) => {
    let deeper = false;
    for (const el of node[own.children]) {
      if (SILENT.has(el[own.localName]) || !like.test(el[own.textContent])) continue;
      if (depth < 400 && visit(el, depth + 1) || above.has(el)) { deeper = true; continue; }
      const whole = rank(said(el));
      if (whole >= 0) { found[whole].push(el); deeper = true; }
    }
    return deeper;
  };
  for (const root of all.toReversed()) { // what is in others comes after them
    for (const el of root[own.querySelectorAll]('input')) {
      const r = BUTTONS.has(el.type) ? rank(el.value) : -1;
      if (r >= 0) { found[r].push(el); mark(el); }
    }
    if (visit(root === document ? document[own.documentElement] : root, 0) && root !== document) mark(root[own.host]);
  }
  for (const list of found) {
    const some = shown(above.size ? inOrder(list) : list);
    if (some.length) return some;
  }
  const named = [[], [], []];
  for (const root of all) {
    for (const el of root[own.querySelectorAll]('[aria-label],[placeholder],[alt],[title]')) {
      for (const a of LABELS) {
        const r = el[own.hasAttribute](a) ? rank(el[own.getAttribute](a)) : -1;
        if (r >= 0) { named[r].push(el); break; }
      }
    }
  }
  return shown(named.find((l) => l.some(visible)) || []);
}

const hostOrParent = (n) => n[own.parentElement] ?? n[own.getRootNode]()[own.host] ?? null;

// inOrder sorts elements as they are in the document; those of a shadow tree are
// where its host is.
function inOrder(list) {
  if (list.length < 2) return list;
  const place = (el) => {
    for (let root; (root = el[own.getRootNode]()) !== document && root[own.host];) el = root[own.host];
    return el;
  };
  const at = new Map(list.map((el) => [el, place(el)]));
  return list.sort((a, b) => {
    const [p, q] = at.get(a) === at.get(b) ? [a, b] : [at.get(a), at.get(b)];
    const order = p[own.compareDocumentPosition](q);
    return order & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : order & Node.DOCUMENT_POSITION_PRECEDING ? 1 : 0;
  });
}

function hasShadow(el) {
  const walk = document[own.createTreeWalker](el, NodeFilter.SHOW_ELEMENT);
  for (let n = walk.currentNode; n; n = walk.nextNode()) if (n[own.shadowRoot]) return true;
  return false;
}

// byLabel returns the fields of that name: label, placeholder and the like.
function byLabel(text) {
  const want = squeeze(text), low = want.toLowerCase(), found = [[], [], []];
  for (const root of roots(document)) {
    for (const el of root[own.querySelectorAll]('input,textarea,select,[contenteditable=""],[contenteditable=true],[role=checkbox],[role=radio],[role=switch],[role=textbox],[role=combobox]')) {
      if (el.type === 'hidden') continue;
      let best = 3;
      for (const s of [nameOf(el, roleOf(el)), squeeze(el[own.getAttribute]('placeholder') ?? '')]) {
        const l = s.toLowerCase();
        best = Math.min(best, s === want ? 0 : l.replace(/[:*\s]+$/, '') === low ? 1 : want && l.includes(low) ? 2 : 3);
      }
      if (best < 3) found[best].push(el);
    }
  }
  return found.find((l) => l.length) ?? [];
}

// find returns {el}, or {why} if there may be one later, or {error} if waiting
// cannot help.
function find(spec, kind) {
  if (spec.ref) {
    const el = refs.get(spec.ref)?.deref();
    if (!el || !el[own.isConnected]) return { error: 'gone' };
    return { el };
  }
  if (spec.x != null) {
    const el = hitAt(spec.x, spec.y);
    return el ? { el } : { why: 'there is nothing at that point' };
  }
  let list;
  if (spec.selector) {
    try { list = bySelector(spec.selector); } catch (e) { return noSelector(spec.selector, e); }
  } else if (spec.text) {
    list = kind === 'input' ? byLabel(spec.text) : [];
    if (!list.length) list = byText(spec.text);
  } else {
    return { el: spec.handle ?? document[own.activeElement] ?? document[own.body] };
  }
  if (list.length > 1 && !spec.any) {
    const shown = list.filter(visible);
    if (shown.length) list = shown;
  }
  if (list.length > 1 && spec.text && kind === 'click' && spec.nth == null) {
    const controls = list.filter((e) => retarget(e, kind)[own.matches](CONTROL)); // a heading may say the same as a button
    if (controls.length === 1) list = controls;
  }
  if (spec.nth != null) {
    const el = list[spec.nth < 0 ? list.length + spec.nth : spec.nth];
    return el ? { el } : { why: list.length ? `only ${list.length} match` : 'no element matches' };
  }
  if (!list.length) return { why: 'no element matches' };
  if (list.length > 1 && !spec.any) {
    return { error: 'many', count: list.length, list: list.slice(0, 6).map((e, i) => `nth ${i}: ${describe(e)} [ref=${refOf(e)}]`) };
  }
  return { el: list[0] };
}

const CONTROL = 'a[href],button,input,select,textarea,summary,label,[role=button],[role=link],[role=checkbox],[role=radio],[role=tab],[role=menuitem],[role=option],[contenteditable=""],[contenteditable=true]';

// retarget goes from what was named to what takes the action: from a label to its
// control, from a word in a button to the button.
function retarget(el, kind) {
  if (kind === 'click') return el[own.matches](CONTROL) ? el : closest(el, 'a[href],button,[role=button],[role=link],summary') || el;
  if (kind === 'input') {
    if (el[own.matches]('input,textarea,select') || el[own.isContentEditable]) return el;
    return closest(el, 'label')?.control || (el[own.shadowRoot] ? roots(el[own.shadowRoot]).map((r) => r[own.querySelector]('input,textarea,select')).find(Boolean) : null) || el;
  }
  return el;
}

const disabled = (el) => el[own.matches](':disabled') || !!closest(el, '[aria-disabled=true]');

function editable(el) {
  if (el[own.isContentEditable]) return '';
  if (!el[own.matches]('input,textarea')) return 'is not a field that text can be put into';
  if (el.readOnly) return 'is read-only';
  if (el[own.localName] === 'input' && ['checkbox', 'radio', 'file', 'submit', 'button', 'image', 'reset', 'hidden'].includes(el.type)) {
    return `is an input of type ${el.type}: it takes no text`;
  }
  return '';
}

function hitAt(x, y) {
  let root = document, el = null;
  for (;;) {
    const e = root[own.elementFromPoint](x, y);
    if (!e || e === el) return el;
    el = e;
    if (!e[own.shadowRoot]) return el;
    root = e[own.shadowRoot];
  }
}

// covered says what would get an event at the point instead of the element.
function covered(el, x, y) {
  const hit = hitAt(x, y);
  if (!hit) return 'is outside of what the window shows';
  if (inside(hit, el)) return '';
  const label = closest(hit, 'label');
  if (label && label.control === el) return '';
  if (el[own.localName] === 'label' && hit === el.control) return '';
  // Name what a person would call the thing in the way: the outermost element
  // that covers without holding the target.
  let top = hit;
  for (let e = hit; e && !inside(el, e); e = parentOf(e)) top = e;
  return 'is covered by ' + describe(top) + (top === hit ? '' : ' (' + describe(hit) + ')');
}

// nextFrame waits for the page to be drawn once more, or a moment if it is not drawn:
// what is out of sight need not be, and on a busy machine all is drawn late.
const nextFrame = (most = 100) => new Promise((done) => {
  const timer = setTimeout(done, most);
  requestAnimationFrame(() => { clearTimeout(timer); done(); });
});
const moment = (ms) => new Promise((done) => setTimeout(done, ms));

const viewport = () => ({ w: document[own.documentElement].clientWidth || innerWidth, h: innerHeight });

function bringIntoView(el, attempt) {
  const r = rectOf(el), v = viewport();
  if (!r) return;
  const x = r.left + r.width / 2, y = r.top + r.height / 2;
  if (attempt === 0 && x >= 0 && y >= 0 && x < v.w && y < v.h) return;
  const block = ['center', 'center', 'end', 'start'][attempt % 4];
  el[own.scrollIntoView]({ block, inline: 'center', behavior: 'instant' });
}

// ready waits until the element that spec names fulfils need ({kind, visible,
// enabled, editable, stable, hit}), for ms at most.
async function ready(spec, need, ms, base) {
  if (!refs.size) lastRef = Math.max(lastRef, base);
  return { ...await readyNow(spec, need, ms), last: lastRef };
}

async function readyNow(spec, need, ms) {
  const until = performance.now() + ms;
  let why = '', el = null, slowest = 0;
  for (let attempt = 0, round = 0; ; round++) {
    const begun = performance.now(), f = find(spec, need.kind);
    slowest = Math.max(slowest, performance.now() - begun);
    if (f.error) return f;
    el = f.el ? retarget(f.el, need.kind) : null;
    if (!el) {
      why = f.why;
    } else {
      why = need.visible && !visible(el) ? 'is not visible' : need.enabled && disabled(el) ? 'is disabled' : need.editable ? editable(el) : '';
      if (why && /takes no text|text can be put/.test(why)) return { error: 'kind', why, desc: describe(el) };
      if (!why && need.stable) {
        bringIntoView(el, attempt);
        const a = rectOf(el);
        await nextFrame(500);
        const b = el[own.isConnected] ? rectOf(el) : null;
        if (!a || !b) why = 'is not visible';
        else if (a.x !== b.x || a.y !== b.y || a.width !== b.width || a.height !== b.height) why = 'does not stand still';
        else {
          const x = b.left + b.width / 2, y = b.top + b.height / 2;
          if (need.hit) { why = covered(el, x, y); if (why) attempt++; }
          if (!why) return { ok: true, ref: refOf(el), desc: describe(el), x, y };
        }
      } else if (!why) {
        const r = rectOf(el) || { left: 0, top: 0, width: 0, height: 0 };
        return { ok: true, ref: refOf(el), desc: describe(el), x: r.left + r.width / 2, y: r.top + r.height / 2 };
      }
    }
    // In a large page there may be no time for another look, and why is to be told.
    if (performance.now() + slowest >= until) return { why, desc: el ? describe(el) : '' };
    await (round < 5 ? nextFrame() : moment(Math.max(0, Math.min(100, 10 * round, until - performance.now()))));
  }
}
