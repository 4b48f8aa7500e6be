import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ERROR_CODES } from '../../src/shared/core/errors.ts'
import { readPage } from '../support/page.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

describe('docs/errors.md', () => {
  const rows = readPage('docs/errors.md').table()

  it('has every code with its meaning, and no other, in the order of the code', () => {
    assert.deepEqual(
      rows.map(([code, meaning]) => [code, meaning]),
      Object.entries(ERROR_CODES)
    )
  })

  it('says of each when it comes and what to do', () => {
    for (const row of rows) assert.ok(row.length === 4 && row.every(cell => cell !== ''), row.join())
  })
})

describe('error codes', () => {
  const files = globSync('src/**/*.ts', { cwd: root }).filter(path => !path.endsWith('errors.ts'))
  const source = files.map(path => readFileSync(`${root}${path}`, 'utf8')).join('\n')

  it('are each used somewhere', () => {
    for (const code of Object.keys(ERROR_CODES)) assert.ok(source.includes(`'${code}'`), code)
  })

  it('that a doc comment promises exist', () => {
    const promises = [...source.matchAll(/@throws MusterError((?:[ \n*|,]+`[a-z-]+`)+)/g)]
    assert.ok(promises.length > 10)
    for (const [, list = ''] of promises) {
      for (const [, code = ''] of list.matchAll(/`([a-z-]+)`/g)) assert.ok(code in ERROR_CODES, code)
    }
  })
})
