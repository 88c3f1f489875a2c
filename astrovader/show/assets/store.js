"use strict"
// What the page holds: columns, probabilities, look-alikes and pictures; and the labels that the browser keeps.

function decodeBase64(text) {
  const binary = atob(text.trim()), bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}

const textOf = id => document.getElementById(id).textContent

// Plain text for a number: seven digits, which is what float32 holds, or all of a double's
const plain = (value, digits = 7) => Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : ""
const short = value => !Number.isFinite(value) ? "–" : Number.isInteger(value) ? value.toLocaleString("en") : Math.abs(value) < 1e-9 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)))

class Column {
  constructor(about, values) {
    Object.assign(this, about)
    this.values = values
  }
  get isCategory() { return this.names !== undefined }
  // The index of a category, or a number; missing values are -1 and NaN
  at(row) { return this.values[row] }
  shown(row) { return this.isCategory ? this.names[this.values[row]] ?? "–" : short(this.values[row]) }
  csv(row) { return this.isCategory ? this.names[this.values[row]] ?? "" : plain(this.values[row], this.type === "f8" ? 15 : 7) }
  // The values at two fractions of the finite ones, in order
  range(low, high) {
    const sorted = Float64Array.from(this.values).filter(Number.isFinite).sort(), last = sorted.length-1
    return last < 0 ? [NaN, NaN] : [sorted[Math.round(low*last)], sorted[Math.round(high*last)]]
  }
}

class Store {
  constructor() {
    this.meta = JSON.parse(textOf("meta"))
    const bytes = decodeBase64(textOf("columns")).buffer
    const types = {f4: Float32Array, f8: Float64Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array}
    const array = part => new types[part.type](bytes, part.offset, part.length)
    this.ids = this.meta.ids
    this.n = this.ids.length
    this.k = this.meta.k
    this.columns = new Map(this.meta.columns.map(about => [about.name, new Column(about, array(about))]))
    const {x, y, p, near} = this.meta.arrays
    this.x = array(x)
    this.y = array(y)
    this.packedP = array(p)
    this.packedNear = array(near)
    this.component = this.columns.get("component").values
    this.rowOf = new Map(this.ids.map((id, row) => [id, row]))
    this.sheets = new Map()
  }
  p(row, c) { return this.packedP[row*this.k+c]/65535 }
  probabilities(row) { return Array.from({length: this.k}, (_, c) => this.p(row, c)) }
  // Components in the order of their probability for a galaxy
  ranking(row) { return Array.from({length: this.k}, (_, c) => c).sort((a, b) => this.p(row, b)-this.p(row, a) || a-b) }
  near(row) { const m = this.meta.n_near; return Array.from(this.packedNear.subarray(row*m, (row+1)*m)) }
  value(name, row) { return this.columns.get(name)?.at(row) }
  // The values of a component's galaxies, first those that come first in an order
  ordered(rows, order) {
    const p = row => Math.round(1e4*this.value("p_max", row)), density = row => this.value("log_density", row) ?? 0
    const doubt = row => this.value("p_entropy", row) ?? -p(row), odd = row => this.value("outlier_rank", row) ?? this.value("recon_error", row) ?? 0
    const by = {probable: (a, b) => p(b)-p(a) || density(b)-density(a), doubtful: (a, b) => doubt(b)-doubt(a), odd: (a, b) => odd(b)-odd(a)}[order]
    return [...rows].sort((a, b) => by(a, b) || a-b)
  }
  // The picture that holds a sprite, decoded when it is first needed
  sheet(kind, number) {
    const id = `${kind}-${number}`
    if (!this.sheets.has(id)) {
      const image = new Image()
      image.src = `data:image/webp;base64,${textOf(id).trim()}`
      this.sheets.set(id, image.decode().then(() => image))
    }
    return this.sheets.get(id)
  }
  hasKind(kind) { return this.meta.sprites[kind] !== undefined }
  async draw(canvas, row, kind = "galaxy") {
    const {px, per_sheet, across} = this.meta.sprites[kind], at = row % per_sheet
    canvas.width = canvas.height = px
    const image = await this.sheet(kind, Math.floor(row/per_sheet))
    canvas.getContext("2d").drawImage(image, px*(at % across), px*Math.floor(at/across), px, px, 0, 0, px, px)
  }
}

// Labels by object id, so that they also hold in a page that is made again
class Labels {
  constructor(meta) {
    this.key = `astrovader-labels:${meta.key}`
    this.isKept = true
    this.names = meta.labels
    this.byId = new Map()
    this.undoable = []
    this.read()
  }
  read() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? "null")
      if (kept) {
        this.names = kept.names
        this.byId = new Map(Object.entries(kept.labels))
      }
    } catch { this.isKept = false }
  }
  keep() {
    try { localStorage.setItem(this.key, JSON.stringify({names: this.names, labels: Object.fromEntries(this.byId)})) }
    catch { this.isKept = false }
  }
  set(ids, name) {
    this.undoable.push(ids.map(id => [id, this.byId.get(id)]))
    for (const id of ids) name === null ? this.byId.delete(id) : this.byId.set(id, name)
    this.keep()
  }
  undo() {
    const former = this.undoable.pop()
    for (const [id, name] of former ?? []) name === undefined ? this.byId.delete(id) : this.byId.set(id, name)
    this.keep()
    return former?.length ?? 0
  }
  rename(names) { this.names = names; this.keep() }
  counts() {
    const found = new Map(this.names.map(name => [name, 0]))
    for (const name of this.byId.values()) found.set(name, (found.get(name) ?? 0)+1)
    return found
  }
}

const csvField = text => /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
const csvOf = rows => rows.map(row => row.map(csvField).join(",")+"\r\n").join("")

// Rows of a table as text, with fields in quotes
function parseCsv(text) {
  const rows = [[]], fields = /("(?:[^"]|"")*"|[^,\r\n]*)(,|\r?\n|$)/y
  text = text.replace(/^\ufeff/, "")
  while (fields.lastIndex < text.length) {
    const [, field, end] = fields.exec(text) ?? [null, "", "\n"]
    rows.at(-1).push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field)
    if (end !== ",") rows.push([])
  }
  return rows.filter(row => row.length > 1 || row[0])
}

function save(name, text) {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
