// The clipboard is the browser's, and so common to the sessions that share one.
// There nothing of it gets into pages: this world, whose listeners are the first,
// holds pastes back, and remembers what was copied in the frame, of which the
// session's own clipboard is made.

let copied_ = { text: '', at: 0 };

const selected = () => {
  let el = document[own.activeElement];
  while (el?.[own.shadowRoot]?.[own.activeElement]) el = el[own.shadowRoot][own.activeElement];
  if (el && 'selectionStart' in el && typeof el.value === 'string') {
    try { return el.value.slice(el.selectionStart, el.selectionEnd); } catch { /* types without a caret */ }
  }
  return String(getSelection() ?? '');
};
const remember = (text) => { if (text) copied_ = { text: text.slice(0, 1 << 20), at: performance.timeOrigin + performance.now() }; };

for (const type of ['copy', 'cut']) {
  addEventListener(type, (e) => { if (e.isTrusted) remember(selected()); }, true);
  addEventListener(type, (e) => { if (e.isTrusted && e.defaultPrevented) remember(e.clipboardData?.getData('text/plain')); });
}
if (!globalThis.__alone) {
  addEventListener('paste', (e) => { if (e.isTrusted) { e.preventDefault(); e.stopImmediatePropagation(); } }, true);
}

// copied is what was copied last in the frame, and when.
const copied = () => copied_;

// paste tells the page of a paste. It answers whether the text is still to be put in.
function paste(text) {
  let el = document[own.activeElement] ?? document[own.body];
  while (el?.[own.shadowRoot]?.[own.activeElement]) el = el[own.shadowRoot][own.activeElement];
  if (!el || el[own.localName] === 'iframe') return { ok: true };
  const clipboardData = new DataTransfer();
  clipboardData.setData('text/plain', text);
  return { ok: el[own.dispatchEvent](new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true, composed: true })) };
}

