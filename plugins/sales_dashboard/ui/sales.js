// A web component: the screen registers it under a name of its own, makes it and sets its properties:
//   data    what GET /sales answered; it is drawn at once
//   request function(path): a promise of what that path of the plugin answers; the screen adds address and token.
//           With it, the element has a choice of groups, and asks for what is chosen.
const GROUPS = ["hour", "day", "store", "employee"];

export default class Sales extends HTMLElement {
  #data = null;
  #request = null;
  #failure = "";
  #asked = 0;

  set data(data) {
    this.#data = data;
    this.#failure = "";
    this.#draw();
  }

  get data() {
    return this.#data;
  }

  set request(request) {
    this.#request = request;
    this.#draw();
  }

  async show(by) {
    // Answers may come in another order than they were asked for: only the latest question's counts.
    const asked = ++this.#asked;
    try {
      const data = await this.#request(`/sales?by=${encodeURIComponent(by)}`);
      if (asked === this.#asked) this.data = data;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#failure = error?.message || "The sales cannot be shown.";
      this.#draw();
    }
  }

  #draw() {
    const parts = [];
    if (this.#request) parts.push(this.#choice());
    if (this.#failure) parts.push(text("p", this.#failure, { role: "alert" }));
    if (this.#data) parts.push(this.#data.rows.length ? this.#table() : text("p", "No sales."));
    this.replaceChildren(...parts);
  }

  #choice() {
    const choice = text("select", "", { "aria-label": "Sales by" });
    for (const by of GROUPS) {
      const option = text("option", by, { value: by });
      option.selected = by === this.#data?.by;
      choice.append(option);
    }
    choice.addEventListener("change", () => this.show(choice.value));
    return choice;
  }

  #table() {
    const { by, rows } = this.#data;
    const table = text("table", "");
    table.append(row("th", [by, "sales", "refunds", "net"]));
    // Amounts are decimal strings and are shown as they came: a binary number would change some.
    for (const each of rows) table.append(row("td", [each[by], each.sales, each.refunds, `${each.net} ${each.currency}`.trim()]));
    return table;
  }
}

function row(tag, cells) {
  const line = text("tr", "");
  line.append(...cells.map((cell) => text(tag, String(cell))));
  return line;
}

// Always as text, never as HTML: ids come from tills.
function text(tag, content, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = content;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
