"use strict"
// The panels beside the map. Text of tables enters the page as text only, never as HTML.

function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value)
    else if (name === "style") element.style.cssText = value
    else if (value === true) element.setAttribute(name, "")
    else if (value !== false && value != null) element.setAttribute(name, value)
  }
  element.append(...children.flat().filter(child => child != null && child !== false))
  return element
}

const byId = id => document.getElementById(id)
const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : what.endsWith("x") ? "es" : "s"}`.replace(/(galax)ys$/, "$1ies")

const shapes = {circle: "M8 2a6 6 0 1 0 .01 0z", square: "M3 3h10v10H3z", triangle: "M8 2l6.5 11.5h-13z", diamond: "M8 1l6 7-6 7-6-7z", inverted_triangle: "M8 14L1.5 2.5h13z", hex: "M8 1l6.2 3.5v7L8 15l-6.2-3.5v-7z"}

// The mark of a category: its colour and, beyond the number of colours, its shape
function mark(colour, marker) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path")
  svg.setAttribute("viewBox", "0 0 16 16")
  svg.setAttribute("aria-hidden", "true")
  path.setAttribute("d", shapes[marker])
  path.setAttribute("fill", colour)
  svg.append(path)
  return svg
}

class Panels {
  constructor(explorer) {
    this.explorer = explorer
    this.store = explorer.store
    this.names = ["galleries", "galaxy", "selection", "filters", "labels"]
    for (const name of this.names) byId(`tab-${name}`).addEventListener("click", () => this.show(name))
    byId("tabs").addEventListener("keydown", event => this.turn(event))
    this.per_gallery = 16
    this.order = "probable"
    this.listed = 60
  }

  show(name, focus = false) {
    for (const other of this.names) {
      byId(other).hidden = other !== name
      byId(`tab-${other}`).setAttribute("aria-selected", other === name)
      byId(`tab-${other}`).tabIndex = other === name ? 0 : -1
    }
    this.shown = name
    this.render()
    if (focus) byId(`tab-${name}`).focus()
  }

  turn(event) {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key]
    if (!step) return
    event.preventDefault()
    event.stopPropagation()
    this.show(this.names.at((this.names.indexOf(this.shown)+step) % this.names.length), true)
  }

  render() {
    const panel = byId(this.shown), top = panel.scrollTop
    panel.replaceChildren(...this[this.shown]())
    panel.scrollTop = top
    const {selection, filters} = this.explorer
    byId("tab-selection").textContent = selection.length ? `Selection ${selection.length.toLocaleString("en")}` : "Selection"
    byId("tab-filters").textContent = filters.isActive ? "Filters ●" : "Filters"
    byId("tab-labels").textContent = this.explorer.labels.byId.size ? `Labels ${this.explorer.labels.byId.size.toLocaleString("en")}` : "Labels"
  }

  picture(row, kind = "galaxy") {
    const canvas = h("canvas", {class: "galaxy", width: 8, height: 8, role: "img", "aria-label": `${kind === "galaxy" ? "Image" : "Reconstruction"} of ${this.store.ids[row]}`})
    this.store.draw(canvas, row, kind)
    return canvas
  }

  // Thumbnails of some galaxies, each a button that takes it in hand
  thumbs(rows, tag = () => "") {
    const {explorer, store} = this
    return h("div", {class: "thumbs"}, rows.map(row => {
      const text = tag(row), label = explorer.labels.byId.get(store.ids[row])
      return h("button", {type: "button", "data-row": row, class: row === explorer.hand ? "pinned" : "", title: `${store.ids[row]}: component ${explorer.nameOf(store.component[row])}, ${store.value("p_max", row).toFixed(2)}${label ? `, ${label}` : ""}`,
        onclick: () => explorer.pin(row, {from: rows})}, this.picture(row), text || label ? h("span", {class: "tag"}, text || label) : null)
    }))
  }

  badge(c, text = "") { return h("span", {class: "chip"}, mark(...this.explorer.style(c)), text+this.explorer.nameOf(c)) }

  galleries() {
    const {explorer, store} = this
    const orders = {probable: "the most probable first", doubtful: "the most doubtful first", odd: "the oddest first"}
    const choice = h("select", {id: "order", "aria-label": "Order of the galleries", onchange: event => { this.order = event.target.value; this.render() }},
      Object.entries(orders).map(([value, text]) => h("option", {value, selected: value === this.order}, text)))
    const members = Array.from({length: store.k}, () => [])
    for (const row of explorer.visible) members[store.component[row]].push(row)
    const total = store.meta.counts
    const blocks = members.map((rows, c) => rows.length ? [
      h("h2", {id: `gallery-${c}`}, this.badge(c, "component "), " ", h("span", {class: "quiet"}, many(total[c], "galaxy"), ` (${(100*total[c]/store.meta.n_total).toFixed(1)}%)${store.meta.purities.length ? `, purity ${store.meta.purities[c]}` : ""}`), " ",
        h("button", {type: "button", class: "quiet", onclick: () => explorer.select(rows, `component ${explorer.nameOf(c)}`)}, "select")),
      this.thumbs(store.ordered(rows, this.order).slice(0, this.per_gallery)),
    ] : null)
    const more = h("button", {type: "button", onclick: () => { this.per_gallery = this.per_gallery >= 64 ? 16 : this.per_gallery*2; this.render() }}, this.per_gallery >= 64 ? "Fewer of each" : "More of each")
    const purity = store.meta.purities.length ? h("p", {class: "quiet"}, "Purity: the share of a component’s galaxies that have its name, with its 90% interval.") : null
    return [h("div", {class: "row"}, choice, more), purity, ...blocks.flat().filter(Boolean), explorer.visible.length ? null : h("p", {}, "No galaxy passes the filters.")].filter(Boolean)
  }

  galaxy() {
    const {explorer, store} = this, row = explorer.hand
    if (row === null) return [h("p", {}, "Click a galaxy on the map, or press an arrow key, to take it in hand."), h("p", {class: "quiet"}, store.meta.about)]
    const ranked = store.ranking(row).filter((c, i) => i === 0 || store.p(row, c) >= .0005), [first, second] = ranked
    const nearest = store.near(row)
    return [
      h("div", {class: "id"}, store.ids[row]),
      h("div", {class: "row"}, this.badge(first, "component "), h("span", {class: "quiet"}, `with probability ${store.p(row, first).toFixed(3)}`, second === undefined ? "" : `; second-best is component ${explorer.nameOf(second)} with ${store.p(row, second).toFixed(3)}`)),
      h("div", {class: "pair"}, h("figure", {}, this.picture(row), h("figcaption", {}, "galaxy")),
        store.hasKind("reconstruction") ? h("figure", {}, this.picture(row, "reconstruction"), h("figcaption", {}, "reconstruction")) : null),
      this.labelRow(name => explorer.label([row], name), explorer.labels.byId.get(store.ids[row])),
      this.links(row),
      h("h2", {}, "Probabilities"),
      h("div", {class: "bars"}, ranked.slice(0, 6).flatMap(c => [this.badge(c), h("span", {class: "track"}, h("i", {style: `width:${100*store.p(row, c)}%;background:${explorer.style(c)[0]}`})), h("span", {}, store.p(row, c).toFixed(3))])),
      this.scores(row),
      ...nearest.length ? [h("h2", {}, "Nearest look-alikes"), this.thumbs(nearest, other => explorer.nameOf(store.component[other])),
        h("div", {class: "row"}, h("button", {type: "button", onclick: () => explorer.select([row, ...nearest], "look-alikes")}, "Select them"))] : [],
      this.everything(row),
    ].filter(Boolean)
  }

  scores(row) {
    const names = {p_entropy: "entropy of the probabilities", outlier_rank: "outlier score (1 is the oddest)", recon_error: "reconstruction error"}
    const known = Object.entries(names).filter(([name]) => this.store.columns.has(name))
    return h("table", {}, h("tbody", {}, known.map(([name, text]) => h("tr", {}, h("td", {}, text), h("td", {}, short(this.store.value(name, row)))))))
  }

  everything(row) {
    const rows = [...this.store.columns.values()].map(column => h("tr", {}, h("td", {}, column.name), h("td", {}, column.shown(row))))
    return h("details", {open: this.isOpen, ontoggle: event => { this.isOpen = event.target.open }}, h("summary", {}, `All ${rows.length} columns`), h("table", {}, h("tbody", {}, rows)))
  }

  links(row) {
    const {ra, dec} = this.store.meta.sky ?? {}
    if (!ra) return null
    const [a, d] = [this.store.value(ra, row), this.store.value(dec, row)]
    if (!Number.isFinite(a) || !Number.isFinite(d)) return null
    const at = {"Legacy Survey": `https://www.legacysurvey.org/viewer?ra=${plain(a, 10)}&dec=${plain(d, 10)}&layer=ls-dr10&zoom=15&mark=${plain(a, 10)},${plain(d, 10)}`,
      "Aladin": `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(`${plain(a, 10)} ${d < 0 ? "" : "+"}${plain(d, 10)}`)}&fov=0.03`,
      "SIMBAD": `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${encodeURIComponent(`${plain(a, 10)} ${d < 0 ? "" : "+"}${plain(d, 10)}`)}&Radius=30&Radius.unit=arcsec`}
    return h("div", {class: "links"}, Object.entries(at).map(([text, href]) => h("a", {href, target: "_blank", rel: "noopener noreferrer"}, text)), h("span", {class: "quiet"}, `${a.toFixed(5)}, ${d.toFixed(5)}`))
  }

  labelRow(give, current, keys = "") {
    const {labels} = this.explorer
    return h("div", {class: "row labels"}, labels.names.map((name, i) => h("button", {type: "button", class: name === current ? "main" : "", "aria-pressed": name === current, onclick: () => give(name === current ? null : name)},
      name, i < 9 ? h("kbd", {style: "margin-left:.4rem"}, keys+(i+1)) : null)), h("button", {type: "button", onclick: () => give(null)}, "none", h("kbd", {style: "margin-left:.4rem"}, keys+"0")))
  }

  selection() {
    const {explorer, store} = this, rows = explorer.selection
    if (!rows.length) return [h("p", {}, "Draw around galaxies with the lasso or the box beside the map. With Shift, they are added to the selection."),
      h("div", {class: "row"}, h("button", {type: "button", onclick: () => explorer.select(explorer.visible, "all that pass the filters")}, "Select all that pass the filters"), h("button", {type: "button", onclick: () => explorer.selectView()}, "Select all in view")),
      this.readIds()]
    const counts = new Map()
    for (const row of rows) counts.set(store.component[row], (counts.get(store.component[row]) ?? 0)+1)
    const ranked = [...counts].sort((a, b) => b[1]-a[1])
    return [
      h("p", {}, h("b", {}, many(rows.length, "galaxy")), explorer.selectedBy ? h("span", {class: "quiet"}, ` · ${explorer.selectedBy}`) : null),
      h("div", {class: "row"}, ranked.slice(0, 8).map(([c, n]) => h("span", {class: "chip"}, mark(...explorer.style(c)), `${explorer.nameOf(c)}: ${n.toLocaleString("en")}`)), ranked.length > 8 ? `and ${ranked.length-8} more` : null),
      h("div", {class: "row"}, h("button", {type: "button", id: "save-ids", onclick: () => explorer.saveIds()}, "Save ids"), h("button", {type: "button", id: "save-table", onclick: () => explorer.saveTable()}, "Save table"),
        h("button", {type: "button", onclick: () => explorer.select([])}, "Clear")),
      this.readIds(),
      h("p", {class: "quiet"}, "Label all of them:"),
      this.labelRow(name => explorer.label(rows, name), undefined, "⇧"),
      this.thumbs(rows.slice(0, this.listed)),
      rows.length > this.listed ? h("div", {class: "row"}, h("button", {type: "button", onclick: () => { this.listed += 120; this.render() }}, `Show more of ${rows.length.toLocaleString("en")}`)) : null,
    ].filter(Boolean)
  }

  readIds() {
    return h("label", {class: "row"}, "Read ids ", h("input", {id: "read-ids", type: "file", accept: ".csv,text/csv", onchange: event => this.explorer.readIds(event.target.files[0])}))
  }

  filters() {
    const {explorer, store} = this, {filters} = explorer
    const changed = () => explorer.refilter()
    const choose = h("select", {id: "add-filter", "aria-label": "Column of a new filter", onchange: event => { if (event.target.value) { filters.add(event.target.value); changed() } }},
      h("option", {value: ""}, "Add a filter …"), columnOptions(store, explorer.labels))
    return [
      h("p", {}, h("b", {}, many(explorer.visible.length, "galaxy")), ` of ${store.n.toLocaleString("en")} pass.`),
      h("h2", {}, "Components"),
      h("div", {class: "row"}, Array.from({length: store.k}, (_, c) => h("button", {type: "button", class: "chip", "aria-pressed": !filters.hidden.has(c), onclick: () => { filters.toggle(c); changed() }}, mark(...explorer.style(c)), explorer.nameOf(c)))),
      h("div", {class: "row"}, h("button", {type: "button", onclick: () => { filters.hidden.clear(); changed() }}, "All"), h("button", {type: "button", onclick: () => { filters.hidden = new Set(Array(store.k).keys()); changed() }}, "None")),
      h("h2", {}, "Columns"),
      ...filters.list.map((filter, i) => this.filter(filter, i, changed)),
      choose,
      h("div", {class: "row"}, h("button", {type: "button", onclick: () => { filters.clear(); changed() }}, "Remove all filters"), h("button", {type: "button", onclick: () => explorer.select(explorer.visible, "all that pass the filters")}, "Select all that pass")),
    ]
  }

  filter(filter, i, changed) {
    const remove = h("button", {type: "button", "aria-label": `Remove the filter of ${filter.name}`, onclick: () => { this.explorer.filters.list.splice(i, 1); changed() }}, "×")
    if (filter.names) return h("div", {class: "filter"}, h("b", {}, filter.name), remove, h("div", {class: "row"}, filter.names.map((name, code) => h("button", {type: "button", class: "chip", "aria-pressed": filter.codes.has(code),
      onclick: () => { filter.codes.has(code) ? filter.codes.delete(code) : filter.codes.add(code); changed() }}, name))))
    const end = which => h("input", {type: "number", step: "any", value: filter[which] ?? "", placeholder: short(filter.limits[which === "from" ? 0 : 1]), "aria-label": `${filter.name} ${which}`,
      onchange: event => { filter[which] = event.target.value === "" ? null : Number(event.target.value); changed() }})
    return h("div", {class: "filter"}, h("b", {}, filter.name), remove, h("div", {class: "row"}, end("from"), "to", end("to")))
  }

  labels() {
    const {explorer} = this, {labels} = explorer, counts = labels.counts()
    const rename = (i, name) => { const names = [...labels.names]; name.trim() ? names[i] = name.trim() : names.splice(i, 1); labels.rename([...new Set(names)]); this.render(); explorer.recolour() }
    return [
      h("p", {}, "Keys 1 to 9 label the galaxy in hand, with Shift the selection; 0 removes a label, and z takes the last labels back."),
      labels.isKept ? h("p", {class: "quiet"}, "This browser keeps them. Save them as a table to use them elsewhere.") : h("p", {}, h("b", {}, "This browser keeps no labels here"), ": save them before you close the page."),
      ...[...counts].map(([name, n], i) => h("div", {class: "row names"}, h("kbd", {}, i < 9 ? String(i+1) : " "), i < labels.names.length ? h("input", {value: name, "aria-label": `Name of label ${i+1}`, onchange: event => rename(i, event.target.value)}) : h("span", {}, name),
        h("span", {}, many(n, "galaxy")), n ? h("button", {type: "button", onclick: () => explorer.selectLabel(name)}, "select") : null)),
      h("div", {class: "row names"}, h("input", {id: "new-label", placeholder: "new label", "aria-label": "New label", onchange: event => rename(labels.names.length, event.target.value)})),
      h("div", {class: "row"}, h("button", {type: "button", id: "save-labels", class: "main", disabled: labels.byId.size === 0, onclick: () => explorer.saveLabels()}, "Save labels"),
        h("label", {class: "row"}, "Read labels ", h("input", {id: "read-labels", type: "file", accept: ".csv,text/csv", onchange: event => explorer.readLabels(event.target.files[0])})),
        h("button", {type: "button", disabled: labels.undoable.length === 0, onclick: () => explorer.undo()}, "Undo"),
        h("button", {type: "button", disabled: labels.byId.size === 0, onclick: () => { if (confirm("Remove every label?")) explorer.label([...labels.byId.keys()].map(id => explorer.store.rowOf.get(id)).filter(row => row !== undefined), null) }}, "Remove all")),
    ]
  }
}

function columnOptions(store, labels, chosen) {
  const groups = new Map()
  for (const column of store.columns.values()) groups.set(column.group, [...groups.get(column.group) ?? [], column.name])
  const option = name => h("option", {value: name, selected: name === chosen}, name)
  return [...[...groups].map(([label, names]) => h("optgroup", {label}, names.map(option))), h("optgroup", {label: "Yours"}, option("labels")),
    h("optgroup", {label: "Probabilities"}, Array.from({length: store.k}, (_, c) => option(`p_${c}`)))]
}
