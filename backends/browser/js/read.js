// Reading pages: snapshots with references, and text.

const ROLES = {
  a: (e) => e[own.hasAttribute]('href') ? 'link' : '', area: (e) => e[own.hasAttribute]('href') ? 'link' : '',
  button: 'button', summary: 'button', textarea: 'textbox', option: 'option', optgroup: 'group',
  select: (e) => e.multiple || e.size > 1 ? 'listbox' : 'combobox',
  input: (e) => ({ checkbox: 'checkbox', radio: 'radio', range: 'slider', number: 'spinbutton', search: 'searchbox', button: 'button', submit: 'button', reset: 'button', image: 'button', hidden: '', file: 'file', color: 'color', date: 'date', time: 'time', 'datetime-local': 'datetime', month: 'month', week: 'week' })[e.type] ?? (e.list ? 'combobox' : 'textbox'),
  h1: 'heading', h2: 'heading', h3: 'heading', h4: 'heading', h5: 'heading', h6: 'heading',
  img: (e) => e.alt || !e[own.hasAttribute]('alt') ? 'img' : '', svg: 'img', iframe: 'iframe', frame: 'iframe', dialog: 'dialog',
  nav: 'navigation', main: 'main', aside: 'complementary', form: 'form', fieldset: 'group', details: 'group', article: 'article', search: 'search',
  header: (e) => closest(e[own.parentElement] ?? e, 'article,aside,main,nav,section') ? '' : 'banner',
  footer: (e) => closest(e[own.parentElement] ?? e, 'article,aside,main,nav,section') ? '' : 'contentinfo',
  section: (e) => e[own.hasAttribute]('aria-label') || e[own.hasAttribute]('aria-labelledby') ? 'region' : '',
  ul: 'list', ol: 'list', li: 'listitem', dl: 'list', dt: 'term', dd: 'definition', table: 'table', tr: 'row', td: 'cell', th: 'columnheader', p: 'paragraph', blockquote: 'blockquote',
  hr: 'separator', progress: 'progressbar', meter: 'meter', output: 'status', video: 'video', audio: 'audio', canvas: 'canvas', pre: 'code', figure: 'figure',
};
const INTERACTIVE = new Set(['link', 'button', 'textbox', 'searchbox', 'combobox', 'listbox', 'checkbox', 'radio', 'switch', 'slider', 'spinbutton', 'tab', 'menuitem', 'menuitemcheckbox', 'menuitemradio', 'treeitem', 'option', 'file', 'color', 'date', 'time', 'datetime', 'month', 'week', 'clickable', 'draggable', 'iframe', 'video', 'audio', 'canvas', 'gridcell', 'scrollbar']);
const NOTABLE = new Set(['heading', 'dialog', 'alertdialog', 'alert', 'status', 'tooltip', 'progressbar', 'menu', 'tablist']);
const LIVE = new Set(['alert', 'status']); // told of if they say something
const GIVEN = new Set(['clickable', 'draggable', 'iframe', 'video', 'audio', 'canvas', 'gridcell', 'option']); // without name they are no riddle
const GROUPS = new Set(['group', 'radiogroup', 'region', 'form', 'toolbar']); // told of if they have a name
const NAMED_BY_CONTENT = new Set(['link', 'button', 'heading', 'option', 'tab', 'menuitem', 'menuitemcheckbox', 'menuitemradio', 'treeitem', 'checkbox', 'radio', 'switch', 'tooltip', 'clickable', 'alert', 'status', 'columnheader', 'rowheader', 'gridcell', 'draggable']);
const LEAVES = new Set(['button', 'option', 'textbox', 'searchbox', 'checkbox', 'radio', 'switch', 'slider', 'spinbutton', 'img', 'progressbar', 'meter', 'video', 'audio', 'canvas', 'file', 'color', 'date', 'time', 'datetime', 'month', 'week', 'iframe']);

function roleOf(el) {
  const given = el[own.getAttribute]('role')?.trim().split(/\s+/)[0];
  if (given === 'none' || given === 'presentation') return '';
  if (given && given !== 'generic' && /^[a-z]{2,20}$/.test(given)) return given;
  const r = ROLES[el[own.localName]];
  const role = typeof r === 'function' ? r(el) : r;
  if (role) return role;
  if (el[own.isContentEditable] && !el[own.parentElement]?.[own.isContentEditable]) return 'textbox';
  const live = el[own.getAttribute]('aria-live');
  if (live === 'polite' || live === 'assertive') return live === 'polite' ? 'status' : 'alert';
  if (el[own.hasAttribute]('onclick') || (el[own.hasAttribute]('tabindex') && el[own.tabIndex] >= 0 && el[own.localName] !== 'body')) return 'clickable';
  return '';
}

// pointer tells whether an element looks clickable and is the outermost that does.
const pointer = (el) => getComputedStyle(el).cursor === 'pointer' && (!el[own.parentElement] || getComputedStyle(el[own.parentElement]).cursor !== 'pointer');

// labelText is what a label says, but for the options of a select in it.
function labelText(label) {
  if (!label[own.querySelector]('select')) return label[own.innerText] ?? label[own.textContent];
  const walk = document[own.createTreeWalker](label, NodeFilter.SHOW_TEXT);
  let text = '';
  for (let n = walk.nextNode(); n && text.length < 1000; n = walk.nextNode()) {
    if (!n[own.parentElement][own.closest]('select') && visible(n[own.parentElement])) text += n.data;
  }
  return text;
}

// shownText is what an element shows, with what its slots are given, and the shadow
// trees in it, which its innerText leaves out.
function shownText(el) {
  const text = el[own.innerText] ?? el[own.textContent] ?? '';
  if (!el[own.shadowRoot] && !el[own.querySelector]('slot') && (text || !hasShadow(el))) return text;
  let all = '', count = 0;
  const visit = (n) => {
    if (all.length > 2000 || ++count > 2000) return;
    if (n[own.nodeType] === 3) { all += n.data; return; }
    if (n[own.nodeType] !== 1 || SILENT.has(n[own.localName]) || hiddenStyle(n)) return;
    if (!INLINE.has(n[own.localName]) && n[own.localName] !== 'slot') all += ' ';
    for (const k of kids(n)) visit(k);
  };
  for (const k of kids(el)) visit(k);
  return all;
}

function nameOf(el, role) {
  const ids = el[own.getAttribute]('aria-labelledby');
  if (ids) {
    const text = squeeze(ids.split(/\s+/).map((id) => el[own.getRootNode]()[own.getElementById]?.(id)?.[own.textContent] ?? '').join(' '));
    if (text) return text;
  }
  const given = squeeze(el[own.getAttribute]('aria-label') ?? '');
  if (given) return given;
  if (el[own.localName] === 'input' && BUTTONS.has(el.type)) return squeeze(el.value || el.type);
  if (el.labels?.length) {
    const text = squeeze([...el.labels].map(labelText).join(' '));
    if (text) return text;
  }
  if (el[own.localName] === 'fieldset') { const l = el[own.querySelector]('legend'); if (l) return squeeze(l[own.textContent]); }
  if (el[own.localName] === 'table') { if (el.caption) return squeeze(el.caption[own.textContent]); }
  if (el[own.localName] === 'svg') { const t = el[own.querySelector]('title'); if (t) return squeeze(t[own.textContent]); }
  const alt = squeeze(el[own.getAttribute]('alt') ?? '');
  if (alt) return alt;
  if (NAMED_BY_CONTENT.has(role)) {
    let text = squeeze(clip(shownText(el), 1000));
    if (!text) { const i = el[own.querySelector]('[alt],[aria-label],[title],title'); if (i) text = squeeze(i[own.getAttribute]('alt') || i[own.getAttribute]('aria-label') || i[own.getAttribute]('title') || i[own.textContent]); }
    if (text) return text;
  }
  return squeeze(el[own.getAttribute]('placeholder') ?? el[own.getAttribute]('title') ?? (el[own.localName] === 'iframe' ? el.name : '') ?? '');
}

function states(el, role) {
  const s = [];
  const aria = (a) => el[own.getAttribute]('aria-' + a);
  if (role === 'heading') s.push('level=' + (aria('level') ?? (/^h[1-6]$/.test(el[own.localName]) ? el[own.localName][1] : '2')));
  if (el.checked || aria('checked') === 'true') { if (role !== 'option') s.push('checked'); }
  if (el.indeterminate || aria('checked') === 'mixed') s.push('mixed');
  if (disabled(el)) s.push('disabled');
  if (aria('expanded')) s.push(aria('expanded') === 'true' ? 'expanded' : 'collapsed');
  if (el[own.localName] === 'summary' && el[own.parentElement]?.[own.localName] === 'details') s.push(el[own.parentElement].open ? 'expanded' : 'collapsed');
  if (aria('pressed') === 'true') s.push('pressed');
  if (aria('selected') === 'true' || (el[own.localName] === 'option' && el.selected)) s.push('selected');
  if (el.required || aria('required') === 'true') s.push('required');
  if (el.readOnly && el[own.matches]('input,textarea')) s.push('readonly');
  if (aria('invalid') === 'true') s.push('invalid');
  if (document[own.activeElement] === el && el !== document[own.body]) s.push('focused');
  return s;
}

function shownValue(el, role) {
  if (el[own.localName] === 'input' && el.type === 'password') return el.value ? '•'.repeat(Math.min(8, el.value.length)) : '';
  if (el[own.localName] === 'input' && (el.type === 'checkbox' || el.type === 'radio' || BUTTONS.has(el.type) || el.type === 'image')) return '';
  if (el[own.localName] === 'input' && el.type === 'file') return [...el.files].map((f) => f.name).join(', ');
  if (el[own.localName] === 'select') return [...el.selectedOptions].map((o) => squeeze(o.label)).join(', ');
  if (el[own.localName] === 'input' || el[own.localName] === 'textarea') return squeeze(clip(el.value, 300));
  if (role === 'textbox') return squeeze(clip(el[own.innerText] ?? '', 300));
  if (role === 'progressbar' || role === 'meter') return String(el.value ?? el[own.getAttribute]('aria-valuenow') ?? '');
  return el[own.getAttribute]('aria-valuetext') ?? el[own.getAttribute]('aria-valuenow') ?? '';
}

// near is what stands beside a control without name, such as the text of its row.
function near(el) {
  for (let p = parentOf(el), up = 0; p && up < 3 && p !== document[own.body]; p = parentOf(p), up++) {
    if (p[own.querySelectorAll]('*').length > 50) return '';
    const text = squeeze(clip(shownText(p), 300));
    if (text) return text;
  }
  return '';
}

// kids are the nodes below an element as they are shown.
function kids(el) {
  if (el[own.shadowRoot]) return el[own.shadowRoot][own.childNodes];
  if (el[own.localName] === 'slot') { const a = el.assignedNodes(); if (a.length) return a; }
  return el[own.childNodes];
}

const hiddenStyle = (el) => {
  if (el[own.getAttribute]('aria-hidden') === 'true' || el[own.hidden] && !el[own.checkVisibility]()) return true;
  if (el[own.localName] === 'slot' || el[own.localName] === 'option' || el[own.localName] === 'optgroup' || el[own.localName] === 'area') return false;
  return !el[own.checkVisibility]() && getComputedStyle(el).display !== 'contents';
};
const unseen = (el) => getComputedStyle(el).visibility !== 'visible';

let frameElements = []; // of the last snapshot

// snapshot draws the tree below root, or the body, in max characters at most. The
// place of a frame's own is left as \x00n, for the n-th of frameElements.
function snapshot(rootRef, mode, max, prefix, base) {
  if (!refs.size) lastRef = Math.max(lastRef, base);
  const full = mode === 'full', lines = [], until = performance.now() + 3000;
  let size = 0, truncated = false, count = 0;
  frameElements = [];
  const put = (depth, line) => {
    if (truncated) return false;
    const text = '  '.repeat(Math.min(depth, 30)) + line;
    if (size + text.length + 1 > max) { truncated = true; return false; }
    lines.push(text);
    size += text.length + 1;
    return true;
  };
  const quote = (s, n) => JSON.stringify(clip(s, n));
  const visit = (node, depth, nested, named) => {
    if (truncated) return;
    if (node[own.nodeType] === 3) {
      if (!full || named) return;
      const text = squeeze(clip(node.data, 2000));
      if (text && !unseen(node[own.parentElement] ?? document[own.body])) put(depth, '- text: ' + clip(text, 1000));
      return;
    }
    if (node[own.nodeType] !== 1 || SILENT.has(node[own.localName])) return;
    if ((++count & 255) === 0 && performance.now() > until) { truncated = true; return; }
    if (nested > 600) { truncated = true; return; }
    const el = node;
    if (hiddenStyle(el)) return;
    let role = roleOf(el);
    const drag = el[own.getAttribute]('draggable') === 'true';
    if (!role && drag) role = 'draggable';
    if (!role && !el[own.shadowRoot] && pointer(el)) role = 'clickable';
    const gone = el[own.localName] !== 'slot' && unseen(el);
    const active = INTERACTIVE.has(role);
    if (role && !gone && (full || active || drag || NOTABLE.has(role) && !LIVE.has(role) || (GROUPS.has(role) || LIVE.has(role)) && nameOf(el, role))) {
      let below = depth + 1;
      const name = nameOf(el, role) || (drag ? squeeze(clip(shownText(el), 200)) : '');
      const list = kids(el);
      const onlyText = full && !active && !NOTABLE.has(role) && [...list].every((k) => k[own.nodeType] !== 1 || plain(k)) ? squeeze(clip(el[own.textContent], 2000)) : '';
      if (role === 'clickable' && !name && list.length && !full) {
        below = depth; // a wrapper
      } else if (role === 'option' && el[own.localName] === 'option' && !full) {
        return; // shown as the value of its select
      } else {
        let line = '- ' + role;
        if (name && name !== onlyText) line += ' ' + quote(name, 200);
        else if (!name && active && !full && !GIVEN.has(role)) { const by = near(el); if (by) line += ' [near ' + quote(by, 60) + ']'; }
        if (drag && role !== 'draggable') line += ' [draggable]';
        for (const s of states(el, role)) line += ' [' + s + ']';
        line += ' [ref=' + prefix + refOf(el) + ']';
        if (role === 'link' && full) line += ' [url=' + clip(el[own.getAttribute]('href') ?? '', 200) + ']';
        const value = active || role === 'progressbar' || role === 'meter' ? shownValue(el, role) : '';
        if (value && value !== name) line += ': ' + quote(value, 200);
        else if (onlyText) line += ': ' + clip(onlyText, 1000);
        if (el[own.localName] === 'select' && !full && el.options.length) {
          line += ' [options: ' + [...el.options].slice(0, 20).map((o) => quote(squeeze(o.label), 60)).join(', ') + (el.options.length > 20 ? ', …' + (el.options.length - 20) + ' more' : '') + ']';
        }
        if (!put(depth, line)) return;
        if (role === 'iframe') { frameElements.push(el); lines.push('\x00' + (frameElements.length - 1) + ' ' + Math.min(depth + 1, 30)); return; }
        if (el[own.localName] === 'select' && full) {
          let n = 0;
          for (const o of el.options) { if (++n > 50) { put(below, '- text: … ' + (el.options.length - 50) + ' more options'); break; } put(below, '- option ' + quote(squeeze(o.label), 100) + (o.selected ? ' [selected]' : '')); }
          return;
        }
        if (LEAVES.has(role) && !el[own.shadowRoot] && role !== 'button') return;
        if (onlyText) return;
      }
      const covers = named || (NAMED_BY_CONTENT.has(role) && !!name);
      all(list, below, nested + 1, covers);
      return;
    }
    all(kids(el), depth, nested + 1, named);
  };
  // all visits nodes side by side; text that runs through plain elements is one line.
  const all = (list, depth, nested, named) => {
    let run = '';
    const flush = () => {
      const text = squeeze(run);
      run = '';
      if (text) put(depth, '- text: ' + clip(text, 1000));
    };
    for (const k of list) {
      if (full && !named && (k[own.nodeType] === 3 ? !unseen(k[own.parentElement] ?? document[own.body]) : plain(k))) { run += clip(k[own.textContent], 2000); continue; }
      flush();
      visit(k, depth, nested, named);
    }
    flush();
  };
  const root = rootRef ? byRef(rootRef) : document[own.body] ?? document[own.documentElement];
  if (!root) return { error: 'gone' };
  visit(root, 0, 0, false);
  return { text: lines.join('\n'), truncated, frames: frameElements.length, last: lastRef };
}

const INLINE = new Set(['b', 'strong', 'i', 'em', 'span', 'code', 'small', 'u', 's', 'mark', 'sub', 'sup', 'abbr', 'q', 'cite', 'time', 'kbd', 'var', 'br', 'wbr', 'font', 'bdi', 'ins', 'del']);

// plain tells elements that are nothing but a way to write text.
function plain(el) {
  return el[own.nodeType] === 1 && INLINE.has(el[own.localName]) && !el[own.attributes].role && !roleOf(el) && !hiddenStyle(el) && !unseen(el) && !pointer(el) &&
    el[own.children].length < 50 && [...el[own.children]].every(plain);
}

const frameElement = (n) => frameElements[n];

// readable guesses the part of the page that is read for its own sake.
function readable() {
  for (const s of ['article', 'main', '[role=main]']) {
    const list = [...document[own.querySelectorAll](s)].filter(visible);
    if (list.length === 1 && squeeze(list[0][own.innerText]).length > 200) return list[0];
  }
  let best = document[own.body], most = 0;
  const scores = new Map();
  let n = 0;
  for (const p of document[own.querySelectorAll]('p,pre,blockquote,td')) {
    if (++n > 20000) break;
    const text = squeeze(clip(p[own.textContent], 5000));
    if (text.length < 25 || !p[own.checkVisibility]()) continue;
    const score = 1 + (text.match(/[,，、]/g) ?? []).length + Math.min(3, text.length / 100);
    for (let e = p[own.parentElement], k = 1; e && k <= 3; e = e[own.parentElement], k++) {
      if (e[own.matches]('nav,aside,footer,header')) break;
      const s = (scores.get(e) ?? 0) + score / k;
      scores.set(e, s);
      if (s > most) { most = s; best = e; }
    }
  }
  return best ?? document[own.body];
}

const BLOCKS = new Set(['address', 'article', 'aside', 'blockquote', 'body', 'dd', 'details', 'dialog', 'div', 'dl', 'dt', 'fieldset', 'figcaption', 'figure', 'footer', 'form', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'header', 'hr', 'li', 'main', 'nav', 'ol', 'p', 'pre', 'section', 'summary', 'table', 'tr', 'ul', 'option']);

// markdown writes what is shown below root as Markdown, max characters at most.
function markdown(root, max) {
  let out = '', truncated = false, gap = 0, fresh = false; // fresh: right behind the mark of a list item
  const until = performance.now() + 5000;
  let count = 0;
  const lead = []; // what every line begins with: "> ", indentation of lists
  let was = 0; // its length at the last line
  const add = (s) => {
    if (!s || truncated) return;
    fresh = false;
    if (!out) out = lead.join('');
    else if (gap) {
      out += (gap > 1 ? '\n' + lead.slice(0, Math.min(was, lead.length)).join('').trimEnd() : '') + '\n' + lead.join('');
    }
    gap = 0;
    was = lead.length;
    if (out.length + s.length > max) { s = s.slice(0, Math.max(0, max - out.length)); truncated = true; }
    out += s;
  };
  const block = (n = 2) => { if (!fresh) gap = Math.max(gap, n); };
  const text = (s) => {
    s = s.replace(/[\s\u00a0]+/g, ' ');
    if (gap || !out || /\s$/.test(out)) s = s.replace(/^ /, '');
    add(s.replace(/([\\`*_[\]])/g, '\\$1'));
  };
  const apart = (s) => { if (out && !gap && !/\s$/.test(out)) add(' '); add(s + ' '); };
  const link = (u) => { try { return new URL(u, document[own.baseURI]).href.replace(/[()\s]/g, encodeURIComponent); } catch { return ''; } };
  const visit = (node, depth) => {
    if (truncated) return;
    if (node[own.nodeType] === 3) return text(node.data);
    if (node[own.nodeType] !== 1 || SILENT.has(node[own.localName])) return;
    if ((++count & 255) === 0 && performance.now() > until || depth > 600) { truncated = true; return; }
    const el = node, tag = el[own.localName];
    if (tag !== 'slot' && tag !== 'option' && !el[own.checkVisibility]() && getComputedStyle(el).display !== 'contents') return;
    const inner = () => { for (const k of kids(el)) visit(k, depth + 1); };
    const wrap = (mark) => {
      const s = squeeze(clip(el[own.textContent], 2000));
      if (!s) return;
      if (el[own.querySelector]('a,img,code,pre,p,div,ul')) return inner();
      if (out && !gap && !/[\s(]$/.test(out)) add('');
      add(mark + s + mark);
    };
    switch (tag) {
      case 'h1': case 'h2': case 'h3': case 'h4': case 'h5': case 'h6':
        block(); add('#'.repeat(+tag[1]) + ' ' + squeeze(clip(el[own.innerText], 1000))); block(); return;
      case 'br': add('  '); gap = Math.max(gap, 1); return;
      case 'hr': block(); add('---'); block(); return;
      case 'strong': case 'b': return wrap('**');
      case 'em': case 'i': return wrap('*');
      case 'code': if (el[own.closest]('pre')) return inner(); add('`' + squeeze(clip(el[own.textContent], 1000)) + '`'); return;
      case 'pre': {
        block(); const body = clip(el[own.innerText], max).replace(/\n$/, ''); add('```');
        for (const l of body.split('\n')) { gap = Math.max(gap, 1); add(l || ' '); }
        gap = 1; add('```'); block(); return;
      }
      case 'a': {
        const href = el[own.hasAttribute]('href') ? link(el[own.getAttribute]('href')) : '';
        if (!href || el[own.querySelector]('h1,h2,h3,h4,p,div,ul,table')) return inner();
        const label = squeeze(clip(el[own.innerText] || el[own.getAttribute]('aria-label') || el[own.querySelector]('img')?.alt || '', 500));
        if (label) add('[' + label.replace(/([[\]])/g, '\\$1') + '](' + clip(href, 2000) + ')');
        return;
      }
      case 'img': { const alt = squeeze(el.alt); if (alt) add('![' + alt.replace(/([[\]])/g, '\\$1') + '](' + (el.src.startsWith('data:') ? 'data:' : clip(link(el.src), 500)) + ')'); return; }
      case 'blockquote': block(); lead.push('> '); inner(); lead.pop(); block(); return;
      case 'ul': case 'ol': {
        block(lead.some((l) => l.trim() === '') ? 1 : 2);
        let n = (el.start ?? 1);
        for (const li of kids(el)) {
          if (li[own.nodeType] !== 1) continue;
          if (li[own.localName] !== 'li') { visit(li, depth + 1); continue; }
          const mark = tag === 'ol' ? n++ + '. ' : '- ';
          fresh = false; block(1); add(mark); fresh = true; lead.push(' '.repeat(mark.length));
          for (const k of kids(li)) visit(k, depth + 1);
          lead.pop();
        }
        block(lead.some((l) => l.trim() === '') ? 1 : 2);
        return;
      }
      case 'table': {
        const rows = [...el.rows].filter((r) => r[own.checkVisibility]());
        if (!rows.length || el[own.querySelector]('table')) { block(); inner(); block(); return; }
        block();
        const cells = (r) => [...r.cells].map((c) => squeeze(clip(c[own.innerText], 1000)).replace(/\|/g, '\\|'));
        const width = Math.max(...rows.map((r) => r.cells.length));
        if (el.caption) { add(squeeze(el.caption[own.innerText])); block(); }
        rows.forEach((r, i) => {
          const c = cells(r);
          while (c.length < width) c.push('');
          gap = Math.max(gap, 1); add('| ' + c.join(' | ') + ' |');
          if (i === 0) { gap = 1; add('|' + ' --- |'.repeat(width)); }
        });
        block();
        return;
      }
      case 'input': {
        if (el.type === 'hidden' || el.type === 'password') return;
        if (el.type === 'checkbox' || el.type === 'radio') { apart(el.checked ? '[x]' : '[ ]'); return; }
        if (el.value) apart(BUTTONS.has(el.type) ? '[' + squeeze(clip(el.value, 200)) + ']' : '`' + squeeze(clip(el.value, 500)) + '`');
        return;
      }
      case 'textarea': if (el.value) apart('`' + squeeze(clip(el.value, 2000)) + '`'); return;
      case 'button': { const label = squeeze(clip(shownText(el) || el[own.getAttribute]('aria-label') || '', 200)); if (label) apart('[' + label + ']'); return; }
      case 'select': apart('`' + [...el.selectedOptions].map((o) => squeeze(o.label)).join(', ') + '`'); return;
      case 'svg': case 'canvas': case 'video': case 'audio': case 'object': return;
      case 'iframe': { // it has a document of its own, which is read by itself
        const r = rectOf(el);
        if (!r || r.width < 20 || r.height < 20) return;
        block(); add('[frame' + [nameOf(el, 'iframe'), clip(link(el[own.getAttribute]('src') ?? ''), 200)].map((s) => s && ' ' + s.replace(/([[\]])/g, '\\$1')).join('') + ']'); block(); return;
      }
      case 'p': block(); inner(); block(); return;
    }
    const b = BLOCKS.has(tag) || /^(block|flex|grid|list-item|table)$/.test(getComputedStyle(el).display);
    if (b) block(tag === 'div' || tag === 'section' || !BLOCKS.has(tag) ? 1 : 2);
    inner();
    if (b) block(tag === 'div' || tag === 'section' || !BLOCKS.has(tag) ? 1 : 2);
  };
  visit(root, 0);
  return { text: out.trim(), truncated };
}

// extract returns the page, or an element, as text.
function extract(ref, format, readableOnly, max) {
  const root = ref ? byRef(ref) : readableOnly ? readable() : document[own.body] ?? document[own.documentElement];
  if (!root) return { error: 'gone' };
  if (format === 'markdown') return markdown(root, max);
  const s = format === 'html' ? (ref || readableOnly ? root : document[own.documentElement]).outerHTML : root[own.innerText] ?? root[own.textContent];
  return { text: s.length > max ? s.slice(0, max) : s, truncated: s.length > max, full: s.length };
}

globalThis.__tools = {
  ready, fill, filled, focus, copied, paste, choose, checked, labelOf, value, fileInput, element, framePoint, watchDrag, dragBegan, watchDrop, dropTaken, scrolled, scrollTo: scrollTo_,
  shows, awaitShown, box, pageSize, scrollPage, drawn, title, storage, setStorage, snapshot, frameElement, extract,
};
