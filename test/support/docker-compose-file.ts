/** A value of the YAML that docker-compose.yml is written in. */
export type Yaml = string | null | readonly Yaml[] | { readonly [key: string]: Yaml }

interface Row {
  readonly indent: number
  readonly text: string
  readonly number: number
}

/**
 * Reads the part of YAML that a plain compose file needs: maps, lists of scalars, `[a, b]` of scalars, quoted and
 * plain scalars, comments. Numbers and booleans stay text. Throws at everything else rather than guess.
 */
export function readComposeFile(text: string): Yaml {
  const rows = text.split('\n').flatMap((line, i): Row[] => {
    const bare = line.replace(/(^|\s)#(?=([^"]*"[^"]*")*[^"]*$).*$/, '').trimEnd()
    return bare === '' ? [] : [{ indent: bare.length - bare.trimStart().length, text: bare.trim(), number: i + 1 }]
  })
  const [value, end] = readBlock(rows, 0, 0)
  if (end !== rows.length) throw refused(rows[end]!)
  return value
}

/** Resolves `${NAME}` and `${NAME:-otherwise}` as Compose does. */
export function interpolate(text: string, env: Readonly<Record<string, string | undefined>>): string {
  return text.replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, name: string, otherwise = '') => env[name] || otherwise)
}

function readBlock(rows: readonly Row[], start: number, indent: number): [Yaml, number] {
  return rows[start]?.text.startsWith('- ') ? readList(rows, start, indent) : readMap(rows, start, indent)
}

function readList(rows: readonly Row[], start: number, indent: number): [Yaml, number] {
  const items: Yaml[] = []
  let at = start
  for (; rows[at]?.indent === indent; at++) {
    const row = rows[at]!
    if (!row.text.startsWith('- ') || /^- [\w-]+:( |$)/.test(row.text)) throw refused(row)
    items.push(scalar(row, row.text.slice(2).trim()))
  }
  return [items, at]
}

function readMap(rows: readonly Row[], start: number, indent: number): [Yaml, number] {
  const entries: Array<[string, Yaml]> = []
  let at = start
  while (rows[at]?.indent === indent) {
    const row = rows[at]!
    const [, key, rest = ''] = /^([\w-]+):(?: +(.*))?$/.exec(row.text) ?? []
    if (key === undefined || entries.some(([known]) => known === key)) throw refused(row)
    at++
    const next = rows[at]
    if (rest !== '') entries.push([key, inline(row, rest)])
    else if (next === undefined || next.indent <= indent) entries.push([key, null])
    else {
      const [value, end] = readBlock(rows, at, next.indent)
      entries.push([key, value])
      at = end
    }
  }
  if ((rows[at]?.indent ?? 0) > indent) throw refused(rows[at]!)
  return [Object.fromEntries(entries), at]
}

function inline(row: Row, text: string): Yaml {
  if (!text.startsWith('[')) return scalar(row, text)
  const items = /^\[(.*)\]$/.exec(text)?.[1]
  if (items === undefined) throw refused(row)
  return items.split(',').map(item => scalar(row, item.trim()))
}

function scalar(row: Row, text: string): string {
  const quoted = /^"([^"\\]*)"$/.exec(text)?.[1]
  if (quoted !== undefined) return quoted
  // Anchors, tags, flow maps, block scalars and the like.
  if (text === '' || /^["'&*!|>{[%@`]|: /.test(text)) throw refused(row)
  return text
}

function refused({ number, text }: Row): Error {
  return new Error(`line ${number} is beyond this reader: ${text}`)
}
