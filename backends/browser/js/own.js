// The properties of nodes that the page's markup cannot take over. In a form, and
// in the document, names of fields and pictures come before everything that forms
// and documents have: with <input name=children> a form's children is that input.
// No name is a symbol, so what these files ask of nodes they ask by symbols:
// el[own.children].

const own = {};
const prototypes = [Node, CharacterData, Text, Element, HTMLElement, SVGElement, MathMLElement, Document, DocumentFragment, ShadowRoot].map((c) => c.prototype);
for (const name of [
  'activeElement', 'assignedSlot', 'attributes', 'baseURI', 'body', 'checkVisibility', 'childNodes', 'children', 'closest', 'compareDocumentPosition', 'createRange', 'createTreeWalker',
  'dispatchEvent', 'documentElement', 'elementFromPoint', 'execCommand', 'focus', 'getAttribute', 'getBoundingClientRect', 'getClientRects', 'getElementById',
  'getRootNode', 'getSelection', 'hasAttribute', 'hidden', 'host', 'innerText', 'isConnected', 'isContentEditable', 'localName', 'matches', 'nodeType', 'outerHTML',
  'parentElement', 'querySelector', 'querySelectorAll', 'scrollIntoView', 'scrollHeight', 'scrollWidth', 'scrollingElement', 'shadowRoot', 'tabIndex', 'textContent', 'title',
]) {
  own[name] = Symbol(name);
  for (const proto of [EventTarget.prototype, ...prototypes]) {
    const has = Object.getOwnPropertyDescriptor(proto, name);
    if (has) Object.defineProperty(proto, own[name], has);
  }
}
