import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { durationBetween, durationMs } from '../../src/shared/core/duration.ts'

describe('a duration', () => {
  it('is a number with its unit', () => {
    for (const [text, ms] of [
      ['0s', 0],
      ['500ms', 500],
      ['90s', 90_000],
      [' 5 m ', 300_000],
      ['48h', 172_800_000],
      ['30d', 2_592_000_000]
    ] as const) {
      assert.equal(durationMs(text), ms)
    }
    for (const text of ['', '5', 'm', '5 min', '-5m', '1.5h', '1h30m', '5M', '1e3s', '9999999999s']) {
      assert.throws(() => durationMs(text), RangeError, text)
    }
  })

  it('of an option lies within its bounds', () => {
    const parse = durationBetween(1_000, 60_000)
    for (const text of ['1s', '60s', '1m', ' 1000ms ']) assert.equal(parse(text), text.trim())
    for (const text of ['999ms', '61s', 'soon']) assert.throws(() => parse(text), RangeError, text)
  })
})
