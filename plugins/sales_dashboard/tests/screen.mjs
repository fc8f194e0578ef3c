// The element on a screen that is just enough of a document: elements with children, text, attributes and listeners.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], attributes: {}, listeners: {}, textContent: "" });
  }
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
    if (name === "value") this.value = value;
  }
  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }
}
globalThis.HTMLElement = Element;
globalThis.document = { createElement: (tag) => new Element(tag) };

const { default: Sales } = await import(pathToFileURL(process.argv[2]));
const cells = (element) => element.children.flatMap((child) => (child.tag === "table" ? child.children : [])).map((line) => line.children.map((cell) => cell.textContent));
const part = (element, tag) => element.children.find((child) => child.tag === tag);
const answer = (by, ...rows) => ({ by, rows });
const monday = { day: "2026-01-05", currency: "EUR", sales: 3, refunds: 1, net: "12345678901234567.10" };

const drawn = new Sales();
drawn.data = answer("day", monday);
assert.deepEqual(cells(drawn), [["day", "sales", "refunds", "net"], ["2026-01-05", "3", "1", "12345678901234567.10 EUR"]]);
assert.equal(part(drawn, "select"), undefined, "nothing to choose where nothing can be asked");

drawn.data = answer("day");
assert.equal(part(drawn, "p").textContent, "No sales.");

const hostile = new Sales();
hostile.data = answer("store", { store: "<img onerror=alert(1)>", currency: "", sales: 1, refunds: 0, net: "1" });
assert.equal(cells(hostile)[1][0], "<img onerror=alert(1)>");

const asked = [];
const waiting = [];
const asking = new Sales();
asking.data = answer("day", monday);
asking.request = (path) => (asked.push(path), new Promise((resolve, reject) => waiting.push({ resolve, reject })));
const choice = part(asking, "select");
assert.deepEqual(choice.children.map((option) => [option.value, option.selected]), [["hour", false], ["day", true], ["store", false], ["employee", false]]);
choice.value = "store";
choice.listeners.change();
const late = asking.show("employee");
assert.deepEqual(asked, ["/sales?by=store", "/sales?by=employee"]);
waiting[1].resolve(answer("employee", { employee: "e-1", currency: "EUR", sales: 1, refunds: 0, net: "2.00" }));
await late;
waiting[0].resolve(answer("store", { store: "s-1", currency: "EUR", sales: 9, refunds: 0, net: "9.00" }));
await new Promise(setImmediate);
assert.equal(cells(asking)[1][0], "e-1", "an answer that comes late does not replace a later one");

const failing = asking.show("hour");
waiting[2].reject(new Error("Only managers may see this."));
await failing;
assert.equal(part(asking, "p").textContent, "Only managers may see this.");
assert.equal(cells(asking)[1][0], "e-1", "what was shown stays");
console.log("ok");
