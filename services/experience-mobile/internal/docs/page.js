"use strict";
(function () {
  // Text only ever enters the page as text.
  function el(name, text, attrs) {
    const e = document.createElement(name);
    if (text !== undefined) e.textContent = text;
    for (const k in attrs || {}) e.setAttribute(k, attrs[k]);
    return e;
  }
  function add(parent, ...children) { for (const c of children) parent.append(c); return parent; }
  function last(ref) { return ref.split("/").pop(); }
  function deref(doc, v) {
    if (!v || !v.$ref) return v;
    return v.$ref.slice(2).split("/").reduce((at, p) => at && at[p], doc);
  }
  function typeOf(s) {
    if (!s) return el("span", "");
    if (s.allOf && s.allOf.length === 1) return typeOf(s.allOf[0]);
    if (s.$ref) return el("a", last(s.$ref), { href: "#schema-" + last(s.$ref) });
    if (s.type === "array") return add(el("span", "list of "), typeOf(s.items));
    return el("span", s.format ? s.type + " (" + s.format + ")" : s.type || "");
  }
  function table(head, rows) {
    const t = el("table"), h = el("tr");
    for (const c of head) add(h, el("th", c, { scope: "col" }));
    const body = el("tbody");
    for (const r of rows) {
      const tr = el("tr");
      for (const c of r) add(tr, typeof c === "string" ? el("td", c) : add(el("td"), c));
      add(body, tr);
    }
    return add(t, add(el("thead"), h), body);
  }
  function paragraphs(into, text) {
    for (const p of (text || "").split("\n\n")) if (p) add(into, el("p", p));
  }
  function example(verb, path, op) {
    let url = location.origin + path.replace("{customer_id}", "c_example");
    const lines = ["curl -i '" + url + "'", "-H \"Authorization: Bearer $TOKEN\""];
    if (verb !== "get") {
      lines[0] = "curl -i -X " + verb.toUpperCase() + " '" + url + "'";
      lines.push("-H 'Content-Type: application/json'", "-H \"Idempotency-Key: $(uuidgen)\"");
      lines.push(verb === "post" ? "-d '{\"name\":\"Example GmbH\",\"address\":{\"city\":\"Bonn\",\"country\":\"DE\"}}'" : "-d '{\"phone\":null}'");
    }
    return lines.join(" \\\n  ");
  }
  function operation(doc, path, verb, op) {
    const box = el("article", undefined, { "aria-labelledby": op.operationId });
    const h = add(el("h3", undefined, { id: op.operationId }), el("span", verb, { class: "verb" }), el("code", path));
    add(box, h, el("p", op.summary));
    paragraphs(box, op.description);
    const scopes = (op.security || []).flatMap((s) => Object.values(s).flat());
    if (scopes.length) add(box, el("p", "Scope: " + scopes.join(", ")));
    const params = (op.parameters || []).map((p) => deref(doc, p));
    if (params.length) {
      add(box, el("h4", "Parameters"), table(["Name", "In", "Type", "Required", "Meaning"],
        params.map((p) => [el("code", p.name), p.in, typeOf(p.schema), p.required ? "yes" : "no", p.description || ""])));
    }
    const body = op.requestBody && op.requestBody.content["application/json"];
    if (body) add(box, add(el("p", "Body: "), typeOf(body.schema)));
    add(box, el("h4", "Answers"), table(["Status", "Meaning", "Body"], Object.keys(op.responses).sort().map((s) => {
      const r = deref(doc, op.responses[s]), c = r.content && Object.values(r.content)[0];
      return [s, r.description || "", c ? typeOf(c.schema) : ""];
    })));
    return add(box, el("h4", "Example"), add(el("pre", undefined, { tabindex: "0" }), el("code", example(verb, path, op))));
  }
  function render(doc) {
    document.getElementById("title").textContent = doc.info.title;
    paragraphs(document.getElementById("about"), doc.info.description);
    const ops = document.getElementById("operations"), contents = document.getElementById("contents");
    for (const path of Object.keys(doc.paths).sort()) {
      for (const verb of Object.keys(doc.paths[path]).sort()) {
        const op = doc.paths[path][verb];
        add(ops, operation(doc, path, verb, op));
        add(contents, add(el("li"), el("a", verb.toUpperCase() + " " + path, { href: "#" + op.operationId })));
      }
    }
    const schemas = document.getElementById("schemas");
    for (const name of Object.keys(doc.components.schemas).sort()) {
      const s = doc.components.schemas[name], required = s.required || [];
      add(schemas, el("h3", name, { id: "schema-" + name }), el("p", s.description || ""));
      add(schemas, table(["Field", "Type", "Required", "Meaning"], Object.keys(s.properties || {}).map((f) => {
        const p = s.properties[f];
        return [el("code", f), typeOf(p), required.includes(f) ? "yes" : "no", (p.readOnly ? "Set by the service. " : "") + (p.description || "")];
      })));
    }
    document.getElementById("status").remove();
    if (location.hash) { const at = document.getElementById(location.hash.slice(1)); if (at) at.scrollIntoView(); }
  }
  fetch("/openapi.json").then((r) => { if (!r.ok) throw new Error("status " + r.status); return r.json(); }).then(render)
    .catch((e) => { document.getElementById("status").textContent = "The description cannot be read: " + e.message; });
})();
