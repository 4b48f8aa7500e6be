import { readFileSync } from 'node:fs'

/** A page of the documentation, as the tests that compare it with the code see it. */
export interface Page {
  readonly text: string
  /** The part under a heading, up to the next heading of the same or a higher level. Throws when there is none. */
  section(heading: string): Page
  /** The rows of the first table as cells: backticks are taken off a cell that is all code, and `\|` becomes `|`. */
  table(): string[][]
  /** The first table's rows by name, each with the number that its second cell begins with. */
  numbers(): Record<string, number>
  /** The contents of fenced blocks of one language. */
  blocks(language: string): string[]
  /** Headings of one level, with the text below each. */
  headings(level: number): Array<{ readonly title: string; readonly page: Page }>
}

/** `path` from the root of the project. */
export function readPage(path: string): Page {
  return pageOf(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'))
}

function pageOf(text: string): Page {
  return {
    text,
    section(heading) {
      const lines = text.split('\n')
      const start = lines.findIndex((line, at) => isHeading(lines, at) && titleOf(line) === heading)
      if (start < 0) throw new Error(`the page has no heading ${JSON.stringify(heading)}`)
      const level = levelOf(lines[start] ?? '')
      const end = lines.findIndex((line, at) => at > start && isHeading(lines, at) && levelOf(line) <= level)
      return pageOf(lines.slice(start + 1, end < 0 ? undefined : end).join('\n'))
    },
    table() {
      const [block = ''] = /(?:^\|.*\|[ ]*$\n?)+/m.exec(text) ?? []
      return block.trim().split('\n').slice(2).map(cells)
    },
    numbers() {
      const rows = this.table().map(([name = '', value = '']) => [
        name,
        Number(/^[\d,]+/.exec(value)?.[0].replaceAll(',', ''))
      ])
      return Object.fromEntries(rows)
    },
    blocks: language =>
      [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
        .filter(([, name]) => name === language)
        .map(([, , body = '']) => body),
    headings(level) {
      const lines = text.split('\n')
      return lines
        .filter((line, at) => isHeading(lines, at) && levelOf(line) === level)
        .map(line => ({ title: titleOf(line), page: this.section(titleOf(line)) }))
    }
  }
}

function cells(row: string): string[] {
  return row
    .trim()
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map(cell => cell.trim().replaceAll('\\|', '|'))
    .map(cell => /^`([^`]*)`$/.exec(cell)?.[1] ?? cell)
}

/** A `#` inside a fenced block is a comment of a shell. */
function isHeading(lines: readonly string[], at: number): boolean {
  if (!/^#{1,6} /.test(lines[at] ?? '')) return false
  return lines.slice(0, at).filter(line => line.startsWith('```')).length % 2 === 0
}

function levelOf(line: string): number {
  return /^#+/.exec(line)?.[0].length ?? 0
}

function titleOf(line: string): string {
  return line.replace(/^#+ /, '').replaceAll('`', '').trim()
}
