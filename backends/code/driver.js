// Runs cells in the global scope for the host program: requests come on
// descriptor 3, answers go to descriptor 4, both as frames of JSON after their
// length in four bytes; descriptor 5 brings the number of a request to interrupt.
// What cells print goes to descriptors 1 and 2 as it is.
//
// Cells are evaluated by the inspector, in the mode of a console: declarations
// may be repeated, and await stands at the top level. A thread of its own waits
// for interrupts, and can stop code that does not return to the event loop.
// What is used of the global objects is kept, for cells may replace them.
(function (require, load) {
'use strict';
const fs = require('fs');
const util = require('util');
const inspector = require('inspector');
const { Socket } = require('net');
const { Worker } = require('worker_threads');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');

const HOME = process.env.SANDBOX_HOME || process.cwd();
const PACKAGES = HOME + '/.packages/node/';
const MAX_OUTPUTS = 24 << 20; // characters of all rich outputs of a cell

const { writeSync, fstatSync, openSync, closeSync } = fs;
const { parse, stringify } = JSON;
const { inspect } = util;
const { from, concat, alloc, isBuffer } = Buffer;
const { getOwnPropertyNames, getOwnPropertyDescriptor, defineProperty } = Object;
const { load: peek, store, compareExchange } = Atomics;
const { Console } = console;
const resources = process.resourceUsage.bind(process);
const error = Error, text = String, now = setImmediate, tick = process.nextTick;
const apply = Reflect.apply;

// fault ends the interpreter for a fault of this program, or of what cells have
// made of the objects that it needs.
const { reallyExit } = process;
function fault(e) {
  try {
    writeSync(2, 'driver: ' + inspect(e) + '\n');
  } finally {
    reallyExit(71);
  }
}

// guarded makes a callback whose exceptions do not get lost in its caller.
function guarded(fn) {
  return (...args) => {
    try {
      return fn(...args);
    } catch (e) {
      fault(e);
    }
  };
}

let current = null; // the request being answered
let cells = 0;
let outputs = [], size = 0;
const sources = { __proto__: null }; // of the last cells, by name
const MAX_CELLS = 1000;

// ----- frames -----

function send(answer) {
  const body = from(stringify(answer));
  const frame = alloc(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, 4);
  try {
    writeAll(4, frame);
  } catch (e) {
    reallyExit(70);
  }
}

function writeAll(fd, data) {
  for (let at = 0; at < data.length;) {
    try {
      at += writeSync(fd, data, at, data.length - at);
    } catch (e) {
      if (e.code !== 'EAGAIN' && e.code !== 'EINTR') throw e;
    }
  }
}

let pending = alloc(0);
function received(data) {
  pending = pending.length ? concat([pending, data]) : data;
  if (pending.length < 4) return;
  const n = pending.readUInt32BE(0);
  if (pending.length < 4 + n) return;
  const request = parse(pending.subarray(4, 4 + n).toString());
  pending = pending.subarray(4 + n);
  try {
    ops[request.op](request);
  } catch (e) {
    fault(e);
  }
}

// ----- streams -----

const pipes = [];
for (const fd of [1, 2]) {
  try {
    pipes.push({ fd, spare: openSync('/proc/self/fd/' + fd, 'w'), ino: fstatSync(fd).ino });
  } catch (e) {} // it cannot be repaired then
}

let kept = false;
// keepStreams keeps cells from ending the objects of the standard streams, and
// has all that is written go out at once. Theirs is a write of our own: one that is
// interrupted leaves a stream that takes itself for busy, and prints nothing more.
function keepStreams() {
  if (kept) return;
  kept = true;
  // The console that is there tells the inspector of all that it prints, which takes
  // far longer than printing it and keeps the last thousand values.
  const plain = new Console(process.stdout, process.stderr);
  const names = getOwnPropertyNames(plain);
  for (let i = 0; i < names.length; i++) if (typeof plain[names[i]] === 'function') console[names[i]] = plain[names[i]];
  for (const s of [process.stdout, process.stderr]) {
    const fd = s.fd;
    s.end = s.destroy = () => s;
    if (s._handle && s._handle.setBlocking) s._handle.setBlocking(true);
    s.write = (chunk, encoding, done) => {
      if (typeof encoding === 'function') [encoding, done] = [undefined, encoding];
      let failed = null;
      try {
        writeAll(fd, typeof chunk === 'string' ? from(chunk, encoding) : chunk);
      } catch (e) {
        failed = e;
      }
      if (typeof done === 'function') tick(done, failed);
      return true;
    };
  }
}

// repair puts back the standard streams that cells have closed.
function repair() {
  for (let i = 0; i < pipes.length; i++) {
    const { fd, spare, ino } = pipes[i];
    try {
      if (fstatSync(fd).ino === ino) continue;
      closeSync(fd);
    } catch (e) {}
    try {
      const opened = openSync('/proc/self/fd/' + spare, 'w'); // takes the lowest number
      if (opened !== fd) closeSync(opened);
    } catch (e) {}
  }
}

// ----- rich outputs -----

function addOutput(mime, data) {
  if (data === undefined || data === null) return;
  if (isBuffer(data) || data instanceof Uint8Array) data = from(data).toString('base64');
  else if (typeof data !== 'string') data = stringify(data) || inspect(data);
  if (size + data.length > MAX_OUTPUTS) {
    writeSync(2, `[output of type ${mime} left out: ${data.length} characters; at most ${MAX_OUTPUTS} a cell]\n`);
    return;
  }
  size += data.length;
  outputs[outputs.length] = { mime: text(mime), data };
}

const jupyter = Symbol.for('Jupyter.display');

function addForms(bundle) {
  const names = getOwnPropertyNames(bundle);
  for (let i = 0; i < names.length; i++) addOutput(names[i], bundle[names[i]]);
}

function isBundle(v) {
  const names = getOwnPropertyNames(v);
  for (let i = 0; i < names.length; i++) if (!/^[\w.+-]+\/[\w.+-]+$/.test(names[i])) return false;
  return names.length > 0;
}

function display(...values) {
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v !== null && typeof v === 'object' && typeof v[jupyter] === 'function') addForms(v[jupyter]());
    else if (v !== null && typeof v === 'object' && isBundle(v)) addForms(v);
    else writeSync(1, inspect(v) + '\n');
  }
}

// ----- values -----

const session = new inspector.Session();
session.connect();
const post = session.post.bind(session);

// hook gets values out of the inspector: it is what they are passed to.
let hooked;
let hook;
defineProperty(globalThis, '__hook', { value: (v) => { hooked = v; }, configurable: true });
post('Runtime.evaluate', { expression: '__hook' }, (err, res) => { hook = res.result.objectId; });
delete globalThis.__hook;

let handles = false; // the inspector holds values of the cell
function real(remote) {
  if (!remote.objectId && !remote.unserializableValue) return remote.value;
  const arg = remote.objectId ? { objectId: remote.objectId } : { unserializableValue: remote.unserializableValue };
  handles = true;
  hooked = undefined;
  post('Runtime.callFunctionOn', { objectId: hook, functionDeclaration: 'function (v) { this(v) }', arguments: [arg] });
  const v = hooked;
  hooked = undefined;
  return v;
}

const WHOLE = { maxStringLength: Infinity }; // cut does it, and says so
const PRINT = '; print it to have all of it in a file';
function cut(s, limit, advice = '') {
  if (s.length <= limit) return [s, false];
  const half = limit >> 1;
  return [s.slice(0, half) + `\n[… ${s.length - 2 * half} of ${s.length} characters left out${advice} …]\n` + s.slice(s.length - half), true];
}

class Exit extends Error {
  constructor(code) {
    super('process.exit(' + (code === undefined ? '' : code) + ')');
    this.code = code;
  }
  get name() { return 'Exit'; }
}

// describe returns an error as data, without the frames below the cell.
function describe(e, details) {
  let name = 'Error', value, stack;
  if (e instanceof error || util.types.isNativeError(e)) {
    name = text(e.name);
    value = text(e.message);
    const lines = inspect(e, { depth: 1 }).split('\n');
    const kept = [];
    let hidden = false;
    for (let i = 0; i < lines.length; i++) {
      const frame = /^\s+at /.test(lines[i]);
      if (frame && /node:inspector|<driver>|\[eval\]/.test(lines[i])) hidden = true;
      else if (!frame) hidden = false;
      if (!hidden) kept[kept.length] = lines[i];
      else if (/ \{$/.test(lines[i])) kept[kept.length - 1] += ' {'; // of the error's own fields
    }
    stack = kept.join('\n').replace(/^(\s+at .*)\bevalmachine.<anonymous>/gm, '$1');
  } else {
    name = 'Uncaught';
    value = inspect(e);
    stack = 'Uncaught ' + value;
  }
  let at = /\b(cell-\d+):(\d+)(?::(\d+))?/.exec(stack);
  if (details && name === 'SyntaxError') at = [0, 'cell-' + cells, details.lineNumber + 1, details.columnNumber + 1];
  if (at && sources[at[1]]) {
    const line = sources[at[1]].split('\n')[at[2] - 1];
    if (line !== undefined && line.length < 500) stack = `${at[1]}:${at[2]}\n${line}\n${' '.repeat(Math.max(0, (at[3] || 1) - 1))}^\n\n` + stack;
  }
  return { name, value: cut(value, 1 << 14)[0], traceback: cut(stack, 1 << 16)[0] + '\n' };
}

// ----- modules -----

const names = require('module').builtinModules;

async function importer(spec) {
  spec = text(spec);
  if (/^\.{0,2}\//.test(spec)) return load(pathToFileURL(require('path').resolve(process.cwd(), spec)).href);
  try {
    return await load(spec);
  } catch (e) {
    if (e.code !== 'ERR_MODULE_NOT_FOUND' || !fs.existsSync(PACKAGES + 'import.mjs')) throw e;
    const installed = await load(pathToFileURL(PACKAGES + 'import.mjs').href);
    return installed.default(spec);
  }
}

const STATIC = /^import\s+(?:(?:([\w$]+)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)|\{([^}]*)\})?\s*from\s*)?(['"])([^'"\n]+)\4(?:\s*(?:with|assert)\s*\{[^}]*\})?/;

// imports makes import declarations, which the inspector does not know, into
// awaited calls, and import() into one that finds modules from the workspace.
function imports(source) {
  if (!/\bimport\b/.test(source)) return source;
  const token = /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"|`|\/(?![*/])(?:[^\\/[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*|[\w$]+|[{}]|\s+|[^]/g;
  let out = '', last = '', m;
  const depth = []; // of braces in template literals
  while ((m = token.exec(source)) !== null) {
    let t = m[0];
    if (t[0] === '/' && t.length > 1 && t[1] !== '/' && t[1] !== '*' && /[\w$)\]}]$/.test(last) && !/^(return|typeof|case|in|of|delete|void|throw|new|await|yield|else|do)$/.test(last)) {
      t = '/'; // a division
      token.lastIndex = m.index + 1;
    }
    if (t === '`' || (t === '}' && depth.length && depth[depth.length - 1] === 0)) { // text of a template
      if (t === '}') depth.pop();
      const rest = /(?:[^`\\$]|\\[^]|\$(?!\{))*(?:`|\$\{)?/y;
      rest.lastIndex = token.lastIndex;
      const body = rest.exec(source)[0];
      if (body.endsWith('${')) depth.push(0);
      token.lastIndex += body.length;
      out += t + body;
      last = '`';
      continue;
    }
    if (depth.length) depth[depth.length - 1] += t === '{' ? 1 : t === '}' ? -1 : 0;
    if (t === 'import' && last !== '.') {
      const rest = source.slice(m.index);
      const s = STATIC.exec(rest);
      if (/^import\s*\(/.test(rest)) {
        t = '__import';
      } else if (s) {
        const [whole, def, all, named, , spec] = s;
        const call = `await __import(${stringify(spec)})`;
        const parts = def ? ['default: ' + def] : [];
        if (named !== undefined) parts.push(named.replace(/\bas\b/g, ':'));
        if (all) t = `const ${all} = ${call}` + (def ? `, {default: ${def}} = ${all}` : '');
        else t = parts.length ? `const {${parts.join(', ')}} = ${call}` : call;
        t += '\n'.repeat(Math.max(0, whole.split('\n').length - t.split('\n').length));
        token.lastIndex = m.index + whole.length;
      }
    }
    out += t;
    if (!/^(\s|\/\/|\/\*)/.test(t)) last = t;
  }
  return out;
}

// ----- cells -----

// What this thread and the watcher share: the request that runs (0: none;
// negative: it is being terminated), and the last one that is to be interrupted.
const shared = new Int32Array(new SharedArrayBuffer(8));
let late = null; // an answer that came while its request was being terminated

// begin reports whether the request is to be interrupted already.
function begin(request) {
  current = request;
  late = null;
  store(shared, 0, request.id);
  return peek(shared, 1) === request.id;
}

// finish answers the current request, once. A termination that is under way could
// hit this program itself, or the next cell: the answer then waits for its end.
function finish(request, answer) {
  if (current !== request) return; // it was interrupted
  answer.id = request.id;
  if (compareExchange(shared, 0, request.id, 0) !== request.id) {
    late = answer;
    return;
  }
  current = null;
  send(answer);
}

// terminated is called when a termination has come to its end, whatever it has hit.
function terminated(id) {
  if (!current || current.id !== id) return;
  store(shared, 0, id);
  if (late) finish(current, late);
  else finishRun(current, interruption());
}

function resetPeak() {
  try {
    const fd = openSync('/proc/self/clear_refs', 'w');
    try { writeSync(fd, '5'); } finally { closeSync(fd); }
  } catch (e) {}
}

function finishRun(request, fields) {
  if (current !== request) return;
  if (handles) post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });
  handles = false;
  repair();
  const answer = { result: null, cut: false, outputs, error: null, code: 0, memory: resources().maxRSS * 1024 };
  outputs = [];
  for (const k in fields) answer[k] = fields[k];
  finish(request, answer);
}

// outline describes an error that describe fails with.
function outline(e) {
  try {
    const name = text(e.name), value = cut(text(e.message), 1 << 14)[0];
    return { name, value, traceback: name + ': ' + value + '\n' };
  } catch (x) {
    return { name: 'Error', value: '', traceback: 'an error that cannot be shown\n' };
  }
}

function failed(e, details) {
  let d;
  try {
    d = describe(e, details);
  } catch (x) {
    d = outline(e);
  }
  return { error: d, code: e instanceof Exit ? (e.code === undefined ? 0 : Number(e.code) & 255) : 1 };
}

const interruption = () => ({ error: { name: 'Interrupted', value: 'the code was interrupted', traceback: 'Interrupted\n' }, code: 130 });

const ops = {
  run(request) {
    cells++;
    const name = 'cell-' + cells;
    sources[name] = request.code;
    delete sources['cell-' + (cells - MAX_CELLS)];
    outputs = [];
    size = 0;
    keepStreams();
    resetPeak();
    let source = request.code;
    try {
      source = imports(source);
    } catch (e) {} // the evaluation says what is wrong
    if (begin(request)) return finishRun(request, interruption());
    post('Runtime.evaluate', { expression: source + '\n//# sourceURL=' + name, replMode: true, objectGroup: 'cell' }, guarded((err, res) => {
      if (current !== request) return;
      if (err) return finishRun(request, interruption()); // it was terminated
      if (res.exceptionDetails) {
        const d = res.exceptionDetails;
        return finishRun(request, failed(d.exception ? real(d.exception) : new error(d.text), d));
      }
      if (res.result.type === 'undefined') return finishRun(request, {});
      // Not under the inspector's feet: showing a value runs code of the cell.
      show(request, res.result);
    }));
  },

  variables(request) {
    begin(request);
    const found = [];
    let left = 0;
    const add = (name, get) => {
      if (found.length >= request.most) {
        left++;
        return;
      }
      let type = '', preview = '';
      try {
        const v = get();
        type = v === null ? 'null' : typeof v === 'object' ? text(v.constructor && v.constructor.name || 'object') : typeof v;
        preview = inspect(v, { depth: 1, maxArrayLength: 20, maxStringLength: request.max, breakLength: Infinity });
        if (preview.length > request.max) preview = preview.slice(0, request.max - 1) + '…';
      } catch (e) {
        preview = '<cannot be shown>';
      }
      found[found.length] = { name, type, preview };
    };
    post('Runtime.globalLexicalScopeNames', {}, (err, res) => {
      if (err) return;
      for (let i = 0; i < res.names.length; i++) {
        add(res.names[i], () => {
          let v;
          post('Runtime.evaluate', { expression: res.names[i], objectGroup: 'cell' }, (err, r) => { v = err || r.exceptionDetails ? undefined : real(r.result); });
          return v;
        });
      }
    });
    const all = getOwnPropertyNames(globalThis);
    for (let i = 0; i < all.length; i++) {
      if (given[all[i]]) continue;
      const d = getOwnPropertyDescriptor(globalThis, all[i]);
      add(all[i], () => (d.get ? '<accessor>' : d.value));
    }
    post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });
    finish(request, { variables: found, left });
  },

  refresh(request) {
    begin(request);
    finish(request, {});
  },
};

function show(request, remote) {
  const v = real(remote);
  if (v === null || typeof v !== 'object' && typeof v !== 'function') {
    globalThis._ = v;
    const [shown, wasCut] = cut(inspect(v, WHOLE), request.max, PRINT);
    return finishRun(request, { result: shown, cut: wasCut });
  }
  // By the inspector, so that it can be terminated.
  let fields = {};
  job = () => {
    globalThis._ = v;
    let bundle;
    if (v !== null && typeof v === 'object' && typeof v[jupyter] === 'function') bundle = v[jupyter]();
    const [shown, wasCut] = cut(inspect(v, WHOLE), request.max, PRINT);
    if (bundle) {
      addForms(bundle);
      addOutput('text/plain', shown);
    }
    fields = { result: shown, cut: wasCut };
  };
  post('Runtime.callFunctionOn', { objectId: runner, functionDeclaration: 'function () { this() }', objectGroup: 'cell' }, guarded((err, res) => {
    if (err) fields = interruption();
    else if (res.exceptionDetails) fields = failed(res.exceptionDetails.exception ? real(res.exceptionDetails.exception) : new error(res.exceptionDetails.text));
    finishRun(request, fields);
  }));
}

let job, runner;
defineProperty(globalThis, '__hook', { value: () => job(), configurable: true });
post('Runtime.evaluate', { expression: '__hook' }, (err, res) => { runner = res.result.objectId; });
delete globalThis.__hook;

// ----- interrupts -----

const watch = `
const { parentPort, workerData } = require('worker_threads');
const session = new (require('inspector').Session)();
session.connectToMainThread();
const shared = workerData;
let data = Buffer.alloc(0);
new (require('net').Socket)({ fd: 5, readable: true, writable: false }).on('data', (d) => {
  data = Buffer.concat([data, d]);
  for (; data.length >= 4; data = data.subarray(4)) {
    const id = data.readUInt32BE(0);
    Atomics.store(shared, 1, id);
    parentPort.postMessage(id); // enough for code that waits
    setTimeout(() => {
      if (Atomics.compareExchange(shared, 0, id, -id) === id) session.post('Runtime.terminateExecution', () => parentPort.postMessage(-id));
    }, 100);
  }
}).on('error', () => {});
`;
const watcher = new Worker(watch, { eval: true, workerData: shared, stdin: false });
watcher.on('message', (id) => {
  if (id < 0) terminated(-id);
  else if (current && current.id === id) finishRun(current, interruption());
});
watcher.on('error', (e) => writeSync(2, 'driver: ' + inspect(e) + '\n'));
watcher.unref();

// ----- the global scope -----

process.exit = (code) => { throw new Exit(code); };
process.on('uncaughtException', (e) => {
  if (e instanceof Exit) return;
  writeSync(2, failed(e).error.traceback);
});
process.on('SIGINT', () => {});

const own = createRequire(HOME + '/cell.js');
globalThis.require = own;
globalThis.module = { exports: {}, require: own, paths: [] };
globalThis.exports = globalThis.module.exports;
globalThis.__dirname = HOME;
globalThis.__filename = HOME + '/cell.js';
defineProperty(globalThis, '__import', { value: importer, writable: true, configurable: true });
globalThis.display = display;
globalThis._ = undefined;
const given = { __proto__: null };
for (const name of getOwnPropertyNames(globalThis)) given[name] = true;

send({ version: process.versions.node });
new Socket({ fd: 3, readable: true, writable: false }).on('data', received).on('end', () => process.reallyExit(0)).on('error', () => process.reallyExit(0));
now(keepStreams); // off the path of the first cell, if that is not there yet
})
