"use strict"
// The map, what is in hand, selected, filtered and labelled, and the keys.

class Filters {
  constructor(explorer) { this.explorer = explorer; this.clear() }
  clear() { this.hidden = new Set(); this.list = [] }
  get isActive() { return this.hidden.size > 0 || this.list.length > 0 }
  toggle(c) { this.hidden.has(c) ? this.hidden.delete(c) : this.hidden.add(c) }
  add(name) {
    const column = this.explorer.column(name)
    this.list.push(column.isCategory ? {name, names: [...column.names, "–"], codes: new Set([...column.names.keys(), column.names.length])} : {name, from: null, to: null, limits: column.range(0, 1)})
  }
  rows() {
    const {store} = this.explorer, columns = this.list.map(filter => this.explorer.column(filter.name))
    const passes = (row, filter, column) => {
      const value = column.at(row)
      if (filter.names) return filter.codes.has(value < 0 || value === undefined ? column.names.length : value)
      return (filter.from === null || value >= filter.from) && (filter.to === null || value <= filter.to)
    }
    return Array.from({length: store.n}, (_, row) => row).filter(row => !this.hidden.has(store.component[row]) && this.list.every((filter, i) => passes(row, filter, columns[i])))
  }
}

class Explorer {
  constructor() {
    this.store = new Store()
    this.labels = new Labels(this.store.meta)
    this.hand = null
    this.selection = []
    this.colour = "component"
    this.filters = new Filters(this)
    this.visible = this.filters.rows()
    this.panels = new Panels(this)
    this.listen()
    this.offerColours()
  }

  // Called by bokeh when the figure stands
  attach(doc) {
    const model = name => doc.get_model_by_name(name)
    this.figure = model("map")
    this.points = model("points")
    this.rings = model("rings")
    this.outlined = model("labelled")
    this.tiles = model("tiles")
    this.glyphs = [["galaxies", 1], ["labelled galaxies", this.store.meta.larger]].map(([name, times]) => [model(name).glyph, times])
    this.home = ["x_range", "y_range"].map(name => [this.figure[name].start, this.figure[name].end])
    this.redraw()
    this.redrawTiles()
    document.documentElement.dataset.ready = Math.round(performance.now())
    this.panels.show("galleries") // after the map, for which it would have to wait otherwise
    this.take(this.store.meta.select.rows, this.store.meta.select.by)
  }

  nameOf(c) { return this.store.meta.component_names[c] }
  style(code) { const {colours, markers} = this.store.meta; return [colours[code % colours.length], markers[Math.floor(code/colours.length) % markers.length]] }

  // Any column, the user's labels, or the probability of one component
  column(name) {
    if (name === "labels") {
      const names = [...this.labels.counts().keys()], code = new Map(names.map((label, i) => [label, i]))
      return new Column({name, names}, this.store.ids.map(id => code.get(this.labels.byId.get(id)) ?? -1))
    }
    const found = this.store.columns.get(name)
    if (found) return found
    const c = Number(name.slice(2))
    return new Column({name}, Float32Array.from({length: this.store.n}, (_, row) => this.store.p(row, c)))
  }

  // Map

  paint() {
    const column = this.column(this.colour), {missing, scale} = this.store.meta
    if (column.isCategory) return {column, style: row => { const code = column.at(row); return code >= 0 && code < column.names.length ? this.style(code) : [missing, "circle"] }}
    let [low, high] = column.range(.02, .98)
    if (!(high > low)) [low, high] = column.range(0, 1)
    const at = value => scale[Math.max(0, Math.min(255, Math.round(255*(high > low ? (value-low)/(high-low) : .5))))]
    return {column, low, high, style: row => { const value = column.at(row); return [Number.isFinite(value) ? at(value) : missing, "circle"] }}
  }

  redraw() {
    if (!this.points) return
    const painted = this.paint(), rows = this.visible, styles = rows.map(painted.style)
    this.shownRows = rows
    this.points.data = {x: Float32Array.from(rows, row => this.store.x[row]), y: Float32Array.from(rows, row => this.store.y[row]), colour: styles.map(style => style[0]), marker: styles.map(style => style[1])}
    this.markSelection()
    this.ring()
    this.legend(painted)
    if (this.tiles) this.redrawTiles()
  }

  recolour() { this.redraw(); if (this.panels.shown === "labels") this.panels.render() }

  markSelection() {
    if (!this.points) return
    const chosen = new Set(this.selection)
    this.marked = chosen.size ? this.shownRows.flatMap((row, i) => chosen.has(row) ? [i] : []) : []
    this.points.selected.indices = this.marked
    this.outline()
  }

  // Labelled galaxies are larger than the others; of those that do not belong to a selection only the points remain
  outline() {
    if (!this.outlined) return
    const chosen = new Set(this.selection), {data} = this.points
    const shown = this.shownRows.flatMap((row, i) => this.labels.byId.has(this.store.ids[row]) && (!chosen.size || chosen.has(row)) ? [i] : [])
    this.outlined.data = Object.fromEntries(["x", "y", "colour", "marker"].map(name => [name, shown.map(i => data[name][i])]))
    byId("labelled-key").hidden = shown.length === 0
  }

  // Called by bokeh when the lasso or the box has chosen points, and also after the page itself has marked them
  selected(indices) {
    if (!this.shownRows || indices.length === this.marked.length && indices.every((i, at) => i === this.marked[at])) return
    this.select(indices.map(i => this.shownRows[i]), "drawn on the map")
  }

  ring() {
    if (!this.rings) return
    const rows = this.hand === null ? [] : [...this.store.near(this.hand), this.hand]
    this.rings.data = {x: rows.map(row => this.store.x[row]), y: rows.map(row => this.store.y[row]), size: rows.map(row => row === this.hand ? 19 : 11), width: rows.map(row => row === this.hand ? 3 : 1.5)}
  }

  legend({column, low, high}) {
    const legend = byId("legend")
    if (column.isCategory) {
      const counts = new Map()
      for (const row of this.visible) counts.set(column.at(row), (counts.get(column.at(row)) ?? 0)+1)
      const isComponent = this.colour === "component"
      const chip = (name, code) => h(isComponent ? "button" : "span", {class: "chip", type: isComponent ? "button" : null, "aria-pressed": isComponent ? !this.filters.hidden.has(code) : null, title: `${many(counts.get(code) ?? 0, "galaxy")}${isComponent ? "; click to hide or show" : ""}`,
        onclick: () => { if (isComponent) { this.filters.toggle(code); this.refilter() } }}, mark(...this.style(code)), name)
      legend.replaceChildren(...column.names.map((name, code) => isComponent || counts.get(code) ? chip(isComponent ? this.nameOf(code) : name, code) : null).filter(Boolean), counts.get(-1) ? h("span", {class: "chip"}, mark(this.store.meta.missing, "circle"), "none") : "")
      return
    }
    const bar = h("canvas", {class: "bar", width: 256, height: 1, role: "img", "aria-label": `Colours from ${short(low)} to ${short(high)}`}), context = bar.getContext("2d")
    this.store.meta.scale.forEach((colour, i) => { context.fillStyle = colour; context.fillRect(i, 0, 1, 1) })
    legend.replaceChildren(h("b", {}, column.name), h("span", {}, short(low)), bar, h("span", {}, short(high)), h("span", {class: "quiet"}, "(2nd to 98th percentile)"))
  }

  // The tiles of the density at the present zoom
  redrawTiles() {
    if (!this.tiles || !this.figure) return
    const {levels, frame} = this.store.meta.density, [left, bottom, side] = frame, {x_range, y_range} = this.figure
    const perPixel = Math.abs(x_range.end-x_range.start)/Math.max(100, this.figure.inner_width)
    const kind = this.colour === "component" ? "component" : "count"
    const level = Math.min(levels.length-1, Math.max(0, Math.ceil(Math.log2(side/(levels[0].cells*perPixel)))))
    const {across, tiles} = levels[level], width = side/across, data = {url: [], x: [], y: [], w: []}
    for (const [i, j] of this.filters.isActive ? [] : tiles) { // tiles show all galaxies, also those that a filter leaves out
      const x = left+i*width, y = bottom+j*width
      if (x > Math.max(x_range.start, x_range.end) || x+width < Math.min(x_range.start, x_range.end) || y > Math.max(y_range.start, y_range.end) || y+width < Math.min(y_range.start, y_range.end)) continue
      data.url.push(`data:image/png;base64,${textOf(`${kind}-${level}-${i}-${j}`).trim()}`)
      data.x.push(x); data.y.push(y); data.w.push(width)
    }
    const key = `${kind}/${level}/${data.x}/${data.y}`
    if (key === this.tileKey) return
    this.tileKey = key
    this.tiles.data = data
  }

  moved() {
    clearTimeout(this.moving)
    this.moving = setTimeout(() => {
      const zoom = (this.home[0][1]-this.home[0][0])/(this.figure.x_range.end-this.figure.x_range.start)
      for (const [glyph, times] of this.glyphs) glyph.size = times*Math.min(14, this.store.meta.point_size*Math.max(1, Math.abs(zoom))**.35)
      this.redrawTiles()
    }, 60)
  }

  zoom(factor) {
    for (const range of [this.figure.x_range, this.figure.y_range]) {
      const middle = (range.start+range.end)/2, half = (range.end-range.start)/2*factor
      range.setv({start: middle-half, end: middle+half})
    }
  }
  goHome() { this.home.forEach(([start, end], i) => this.figure[["x_range", "y_range"][i]].setv({start, end})) }

  // Move the view where a galaxy would lie outside it
  reveal(row) {
    const at = [this.store.x[row], this.store.y[row]]
    ;["x_range", "y_range"].forEach((name, i) => {
      const range = this.figure?.[name]
      if (range && !(at[i] > Math.min(range.start, range.end) && at[i] < Math.max(range.start, range.end))) range.setv({start: at[i]-(range.end-range.start)/2, end: at[i]+(range.end-range.start)/2})
    })
  }

  perPixel() { const {x_range, y_range, inner_width, inner_height} = this.figure; return [Math.abs(x_range.end-x_range.start)/inner_width, Math.abs(y_range.end-y_range.start)/inner_height] }

  // The visible galaxy nearest to a place on the map, within some pixels
  nearestTo(x, y, pixels) {
    const [dx, dy] = this.perPixel()
    let best = null, least = pixels*pixels
    for (const row of this.visible) {
      const distance = ((this.store.x[row]-x)/dx)**2+((this.store.y[row]-y)/dy)**2
      if (distance < least) [best, least] = [row, distance]
    }
    return best
  }

  fillTip(row) {
    const label = this.labels.byId.get(this.store.ids[row])
    byId("tip").hidden = false
    byId("tip").replaceChildren(this.panels.picture(row), h("b", {}, this.store.ids[row]), h("div", {}, `component ${this.nameOf(this.store.component[row])}, p = ${this.store.value("p_max", row).toFixed(2)}${label ? ` · ${label}` : ""}`),
      this.colour === "component" ? "" : h("div", {}, `${this.colour}: ${this.column(this.colour).shown(row)}`))
  }
  // Where the panel is below the map, the galaxy in hand shows on the map
  card(row) {
    const tip = byId("tip"), box = byId("plot").getBoundingClientRect()
    this.fillTip(row)
    tip.style.left = `${box.left+8}px`
    tip.style.top = `${Math.max(4, box.top+8)}px`
    clearTimeout(this.carding)
    this.carding = setTimeout(() => { this.carding = null; this.leave() }, 4000)
  }
  hover(event) {
    if (this.carding) return
    const row = this.nearestTo(event.x, event.y, 9), tip = byId("tip")
    if (row !== this.hovered || tip.hidden) {
      this.hovered = row
      if (row === null) return this.leave()
      this.fillTip(row)
    }
    this.place(tip, event)
  }
  place(tip, {sx, sy}) {
    const box = byId("plot").getBoundingClientRect(), x = box.left+sx+18, y = box.top+sy+12
    tip.style.left = `${x+150 > innerWidth ? x-180 : x}px`
    tip.style.top = `${Math.max(4, Math.min(innerHeight-200, y))}px`
  }
  leave() {
    if (this.carding) return
    this.hovered = null
    byId("tip").hidden = true
  }
  tap(event) {
    const row = this.nearestTo(event.x, event.y, matchMedia("(pointer: coarse)").matches ? 24 : 12)
    if (row !== null) this.pin(row)
  }

  // Hand, selection and labels

  pin(row, {from = null, show = true} = {}) {
    this.hand = row
    this.from = from ?? (this.from?.includes(row) ? this.from : null)
    this.reveal(row)
    this.ring()
    if (show) this.panels.show("galaxy")
    for (const button of document.querySelectorAll(".thumbs button")) button.classList.toggle("pinned", Number(button.dataset.row) === row)
    this.say(`${this.store.ids[row]}, component ${this.nameOf(this.store.component[row])}`)
    if (matchMedia("(max-width: 820px)").matches) this.card(row)
  }

  // The next galaxy of the list that the one in hand came from: a gallery, the selection, or its component
  step(by) {
    const list = this.from ?? (this.selection.includes(this.hand) ? this.selection : this.store.ordered(this.visible.filter(row => this.hand === null || this.store.component[row] === this.store.component[this.hand]), this.panels.order))
    if (list.length) this.pin(list.at((list.indexOf(this.hand)+by) % list.length), {from: list})
  }

  // The nearest galaxy in one direction of the map
  walk(across, up) {
    if (this.hand === null) return this.visible.length && this.pin(this.store.ordered(this.visible, "probable")[0])
    const [dx, dy] = this.perPixel(), {x, y} = this.store
    let best = null, least = Infinity
    for (const row of this.visible) {
      const u = (x[row]-x[this.hand])/dx, v = (y[row]-y[this.hand])/dy, along = u*across+v*up, aside = Math.abs(u*up)+Math.abs(v*across)
      if (row !== this.hand && along > 1.5 && aside <= along && along+aside < least) [best, least] = [row, along+aside]
    }
    if (best !== null) this.pin(best)
  }

  select(rows, by = "") {
    this.selection = rows
    this.selectedBy = by
    this.panels.listed = 60
    this.markSelection()
    this.panels.show(rows.length || this.panels.shown === "selection" ? "selection" : this.panels.shown)
    this.say(rows.length ? `${many(rows.length, "galaxy")} selected` : "Nothing is selected")
  }
  // Galaxies to go through, the first of them in hand
  take(rows, by) {
    if (!rows.length) return
    this.pin(rows[0], {from: rows, show: false})
    this.select(rows, by)
  }
  selectView() {
    const {x_range, y_range} = this.figure, inside = (value, {start, end}) => value >= Math.min(start, end) && value <= Math.max(start, end)
    this.select(this.visible.filter(row => inside(this.store.x[row], x_range) && inside(this.store.y[row], y_range)), "all in view")
  }
  selectComponent() {
    if (this.hand === null) return this.say("No galaxy is in hand")
    const c = this.store.component[this.hand]
    this.select(this.visible.filter(row => this.store.component[row] === c), `component ${this.nameOf(c)}`)
  }
  toggleHand() {
    if (this.hand === null) return
    this.select(this.selection.includes(this.hand) ? this.selection.filter(row => row !== this.hand) : [...this.selection, this.hand], "picked")
  }
  selectLabel(name) { this.select(Array.from(this.store.ids.keys()).filter(row => this.labels.byId.get(this.store.ids[row]) === name), `labelled ${name}`) }

  refilter() {
    this.visible = this.filters.rows()
    this.redraw()
    this.panels.render()
  }

  label(rows, name) {
    this.labels.set(rows.map(row => this.store.ids[row]), name)
    this.labelled(name === null ? `${many(rows.length, "galaxy")} without a label` : `${many(rows.length, "galaxy")}: ${name}`)
  }
  undo() { const n = this.labels.undo(); this.labelled(n ? `Taken back for ${many(n, "galaxy")}` : "There is nothing to take back") }
  labelled(text) {
    if (this.filters.list.some(filter => filter.name === "labels")) this.visible = this.filters.rows()
    if (this.colour === "labels" || this.filters.list.length) this.redraw()
    else this.outline()
    this.panels.render()
    this.say(text)
  }

  // Files

  saveIds() { save("selection-ids.csv", csvOf([["object_id"], ...this.selection.map(row => [this.store.ids[row]])])) }
  async readIds(file) {
    const [head, ...rows] = parseCsv(await file.text()), id = head?.indexOf("object_id") ?? -1
    if (id < 0) return this.say(`${file.name} has no column object_id; give a table as this page saves it.`)
    const ids = [...new Set(rows.map(row => row[id]))], found = ids.map(text => this.store.rowOf.get(text)).filter(row => row !== undefined)
    this.take(found, file.name)
    this.say(`${many(found.length, "galaxy")} selected${found.length < ids.length ? `; ${many(ids.length-found.length, "id")} of ${file.name} not in this page` : ""}`)
  }
  saveTable() {
    const {store} = this, columns = [...store.columns.values()], p = Array.from({length: store.k}, (_, c) => c)
    const head = ["object_id", "label", "map_x", "map_y", ...columns.map(column => column.name), ...p.map(c => `p_${c}`)]
    save("selection.csv", csvOf([head, ...this.selection.map(row => [store.ids[row], this.labels.byId.get(store.ids[row]) ?? "", plain(store.x[row]), plain(store.y[row]), ...columns.map(column => column.csv(row)), ...p.map(c => plain(store.p(row, c), 5))])]))
  }
  saveLabels() { save("labels.csv", csvOf([["object_id", "label"], ...this.labels.byId])) }
  async readLabels(file) {
    const [head, ...rows] = parseCsv(await file.text())
    const id = head.indexOf("object_id"), label = head.indexOf("label")
    if (id < 0 || label < 0) return this.say(`${file.name} has no columns object_id and label; give a table as this page saves it.`)
    const found = rows.filter(row => row[label])
    this.labels.rename([...new Set([...this.labels.names, ...found.map(row => row[label])])])
    this.labels.undoable.push(found.map(row => [row[id], this.labels.byId.get(row[id])]))
    for (const row of found) this.labels.byId.set(row[id], row[label])
    this.labels.keep()
    this.labelled(`${many(found.length, "label")} read from ${file.name}`)
  }

  // Search, colours, messages and keys

  search(text) {
    const hits = byId("hits"), query = text.trim().toLowerCase()
    hits.hidden = !query
    if (!query) return
    const found = []
    let n = 0
    this.store.ids.forEach((id, row) => { if (id.toLowerCase().includes(query)) { n++; if (found.length < 12 || id.toLowerCase() === query) found.push(row) } })
    found.sort((a, b) => (this.store.ids[b].toLowerCase() === query)-(this.store.ids[a].toLowerCase() === query))
    this.hits = found
    hits.replaceChildren(...found.slice(0, 12).map(row => h("button", {type: "button", onclick: () => this.found(row)}, this.panels.picture(row), h("span", {}, this.store.ids[row]))), n > 12 ? h("p", {class: "quiet"}, `${n.toLocaleString("en")} ids match; type more of it.`) : n ? "" : h("p", {}, "No id contains this."))
  }
  found(row) {
    byId("hits").hidden = true
    if (!this.visible.includes(row)) { this.filters.clear(); this.refilter() }
    this.pin(row)
  }

  offerColours() {
    byId("colour").replaceChildren(...columnOptions(this.store, this.labels, this.colour))
    byId("colour").addEventListener("change", event => this.colourBy(event.target.value))
  }
  colourBy(name) { this.colour = name; byId("colour").value = name; this.redraw() }

  say(text) {
    const status = byId("status")
    status.textContent = text
    status.classList.add("shown")
    clearTimeout(this.saying)
    this.saying = setTimeout(() => status.classList.remove("shown"), 2200)
  }

  keys() {
    const show = name => () => this.panels.show(name, true)
    return new Map([["/", ["find an id", () => byId("query").focus()]], ["← ↑ → ↓", ["the next galaxy in that direction of the map"]], ["j", ["the next galaxy of the list or the component", () => this.step(1)]], ["k", ["the one before", () => this.step(-1)]],
      ["1 … 9", ["label the galaxy in hand; with Shift the selection"]], ["0", ["remove the label; with Shift those of the selection"]], ["z", ["take the last labels back", () => this.undo()]],
      ["s", ["add the galaxy in hand to the selection, or remove it", () => this.toggleHand()]], ["c", ["select its component", () => this.selectComponent()]], ["v", ["select all in view", () => this.selectView()]], ["x", ["clear the selection", () => this.select([])]],
      ["+", ["enlarge the map", () => this.zoom(.7)]], ["-", ["shrink it", () => this.zoom(1/.7)]], ["h", ["the whole map", () => this.goHome()]],
      ["g", ["galleries", show("galleries")]], ["i", ["the galaxy in hand", show("galaxy")]], ["t", ["the selection", show("selection")]], ["f", ["filters", show("filters")]], ["l", ["labels", show("labels")]], ["?", ["this list", () => this.help()]]])
  }
  help() {
    const entries = [...this.keys()].flatMap(([key, [text]]) => [h("dt", {}, key.split(" ").map(part => h("kbd", {}, part))), h("dd", {}, text)])
    byId("help").replaceChildren(h("form", {method: "dialog"}, h("button", {class: "main", "aria-label": "Close"}, "×")), h("h2", {}, "Keys"), h("dl", {}, entries), h("h2", {}, "About this page"), ...this.store.meta.about.split("\n").map(text => h("p", {}, text)))
    byId("help").showModal()
  }
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return
    if (event.key === "Escape") { byId("hits").hidden = true; document.activeElement?.blur(); return }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return
    const digit = /^(Digit|Numpad)(\d)$/.exec(event.code)?.[2], arrow = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key]
    if (digit !== undefined) {
      const name = digit === "0" ? null : this.labels.names[Number(digit)-1], rows = event.shiftKey ? this.selection : this.hand === null ? [] : [this.hand]
      if (name !== undefined) rows.length ? this.label(rows, name) : this.say(event.shiftKey ? "Nothing is selected" : "No galaxy is in hand")
    } else if (arrow) this.walk(...arrow)
    else {
      const action = this.keys().get(event.key === "=" ? "+" : event.key)?.[1]
      if (!action) return
      action()
    }
    event.preventDefault()
  }

  listen() {
    document.addEventListener("keydown", event => this.press(event))
    byId("query").addEventListener("input", event => this.search(event.target.value))
    byId("search").addEventListener("submit", event => { event.preventDefault(); if (this.hits?.length && byId("query").value.trim()) { this.found(this.hits[0]); byId("query").blur() } else this.say("No id contains this") })
    document.addEventListener("click", event => { if (!byId("search").contains(event.target)) byId("hits").hidden = true })
    byId("help-button").addEventListener("click", () => this.help())
    byId("plot").addEventListener("mouseleave", () => this.leave())
    addEventListener("storage", event => { if (event.key === this.labels.key) { this.labels.read(); this.labelled("Labels changed in another window") } })
  }
}

window.explorer = new Explorer()
