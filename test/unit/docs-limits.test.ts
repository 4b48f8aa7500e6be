import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { METRICS } from '../../src/shared/status/metrics.ts'
import { readPage } from '../support/page.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const page = readPage('docs/limits.md')

/** Numbers that limit nothing. */
const NO_LIMIT = new Set(['BUNDLE_BYTES', 'FRAME_PREFIX_BYTES', 'LENGTH_BYTES', 'SHORT_ID_LENGTH', 'TAG_BYTES'])

/** What a module exports in capitals, as the page writes it: `1,024`, or `2,000 to 4,000` for bounds. */
async function limitsOf(path: string): Promise<Map<string, string>> {
  const exported = (await import(new URL(`../../${path}`, import.meta.url).href)) as Record<string, unknown>
  const limits = new Map<string, string>()
  for (const [name, value] of Object.entries(exported)) {
    if (!/^[A-Z][A-Z\d_]+$/.test(name) || NO_LIMIT.has(name)) continue
    if (typeof value === 'number') limits.set(name, value.toLocaleString('en-US'))
    else if (typeof value === 'object' && value !== null && 'minTimeout' in value && 'maxTimeout' in value) {
      limits.set(
        name,
        [value.minTimeout, value.maxTimeout].map(each => Number(each).toLocaleString('en-US')).join(' to ')
      )
    }
  }
  return limits
}

describe('docs/limits.md', () => {
  const sections = page.headings(3)

  it('has a section for every module that exports a limit', async () => {
    const modules = globSync('src/**/*.ts', { cwd: root })
      .map(path => path.replaceAll('\\', '/'))
      .filter(path => !/\/(main|fake[\w-]*)\.ts$/.test(path))
      .filter(path => /^export const [A-Z][A-Z\d_]+ = (?![['"])/m.test(readFileSync(`${root}${path}`, 'utf8')))
    const withLimits: string[] = []
    for (const path of modules) if ((await limitsOf(path)).size > 0) withLimits.push(path)
    assert.deepEqual(sections.map(({ title }) => title).sort(), withLimits.sort())
  })

  for (const { title, page: section } of sections) {
    it(`has the limits of ${title}, by name and value`, async () => {
      const written = new Map(
        section.table().map(([name = '', value = '']) => [name, /^\d[\d,]*( to [\d,]+)?/.exec(value)?.[0] ?? ''])
      )
      assert.deepEqual(written, await limitsOf(title))
    })
  }

  it('says of each what happens without it and when it is reached', () => {
    for (const { page: section } of sections) {
      for (const row of section.table()) assert.ok(row.length === 5 && row.every(cell => cell !== ''), row.join())
    }
  })

  it('names metrics and labels that exist', () => {
    const named = [...page.text.matchAll(/`(muster_\w+)(?:\{(\w+)="(\w+)"\})?`/g)]
    assert.ok(named.length > 10)
    for (const [, metric = '', label, value] of named) {
      const declared = METRICS[metric as keyof typeof METRICS]
      assert.ok(declared, metric)
      if (label === undefined) continue
      const values: unknown = (declared.labels as Record<string, unknown>)[label]
      assert.ok(Array.isArray(values) && values.includes(value), `${metric}{${label}="${value}"}`)
    }
  })
})
