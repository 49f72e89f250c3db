"use strict";
// A table of many rows: sorted by its heads, narrowed by a search, one page of rows at a time.
(() => {
  const { make } = Dash;
  const PAGE = 100;

  // columns: [{title, value(i), cell(i), number, hint}]; sorts by value, largest first if a number.
  Dash.table = ({ title, columns, count, keep = () => true, start = 0, falling = false }) => {
    let by = start, down = falling, page = 0, order = [];
    const heads = columns.map((column, k) => make("th", { scope: "col", class: column.number ? "number" : "word" },
      make("button", { type: "button", text: column.title, title: column.hint, on: { click: () => choose(k) } })));
    const body = make("tbody");
    const where = make("span", { class: "where" });
    const back = make("button", { type: "button", text: "Previous", on: { click: () => turn(-1) } });
    const on = make("button", { type: "button", text: "Next", on: { click: () => turn(1) } });
    const pager = make("div", { class: "pager" }, back, where, on);

    function choose(k) {
      down = k === by ? !down : Boolean(columns[k].number);
      by = k;
      update();
    }

    function turn(step) {
      page += step;
      show();
    }

    function compare(a, b) {
      const [x, y] = [columns[by].value(a), columns[by].value(b)];
      const absent = (v) => v === null || v === undefined || Number.isNaN(v);
      // What is absent comes last both ways.
      if (absent(x) || absent(y)) return absent(x) - absent(y) || a - b;
      const found = typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return (down ? -found : found) || a - b;
    }

    function update() {
      order = Array.from({ length: count }, (_, i) => i).filter(keep).sort(compare);
      page = 0;
      heads.forEach((head, k) => head.setAttribute("aria-sort", k !== by ? "none" : down ? "descending" : "ascending"));
      show();
      document.getElementById("told").textContent = `${order.length} of ${count} rows`;
    }

    function show() {
      const rows = order.slice(page * PAGE, (page + 1) * PAGE);
      body.replaceChildren(...rows.map((i) => make("tr", {}, columns.map((column, k) => {
        const found = column.cell ? column.cell(i) : Dash.number(column.value(i));
        const cell = make(k ? "td" : "th", { class: column.number ? "number" : "word", scope: k ? undefined : "row" });
        cell.append(found);
        return cell;
      }))));
      const last = Math.max(Math.ceil(order.length / PAGE) - 1, 0);
      where.textContent = order.length
        ? `${page * PAGE + 1} to ${page * PAGE + rows.length} of ${order.length}` : "nothing found";
      back.disabled = page === 0;
      on.disabled = page === last;
      pager.hidden = last === 0 && order.length > 0;
    }

    const element = make("div", {}, make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      make("table", {}, make("caption", { class: "unseen", text: title }),
        make("thead", {}, make("tr", {}, heads)), body)), pager);
    update();
    return { element, update };
  };

  // A field that calls `changed` as it is typed in.
  Dash.field = (label, changed, type = "search") => {
    const input = make("input", { type, autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => changed(type === "checkbox" ? input.checked : input.value.trim()));
    return make("label", { class: type === "checkbox" ? "check" : "field" },
      type === "checkbox" ? [input, label] : [make("span", { text: label }), input]);
  };
})();
