import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Clock, ManualClock } from '../../src/shared/core/clock.ts'
import { Deadlines } from '../../src/shared/core/deadlines.ts'

const HOUR_MS = 3_600_000

/** A clock whose wall time can be set, as by NTP or by hand. */
function world() {
  const time = new ManualClock()
  let set = 0
  const clock: Clock = {
    now: () => time.now() + set,
    monotonic: () => time.monotonic(),
    after: (ms, run) => time.after(ms, run),
    every: (ms, run) => time.every(ms, run)
  }
  const heard: string[] = []
  const deadlines = new Deadlines(clock)
  return {
    heard,
    after: (ms: number, what: string) => deadlines.after(ms, () => heard.push(what)),
    pass: (ms: number) => time.advance(ms),
    setWall(by: number) {
      set += by
    }
  }
}

describe('deadlines', () => {
  it('fall due in order, each after its time, unless they are stopped or begin anew', () => {
    const { after, pass, heard } = world()
    const first = after(1_000, 'first')
    after(1_000, 'second')
    const third = after(1_000, 'third')
    after(500, 'short')
    after(Number.POSITIVE_INFINITY, 'never')
    pass(600)
    assert.deepEqual(heard, ['short'])
    first.restart()
    third.stop()
    pass(400)
    assert.deepEqual(heard, ['short', 'second'])
    pass(600)
    assert.deepEqual(heard, ['short', 'second', 'first'])
    pass(HOUR_MS)
    assert.equal(heard.length, 3)
  })

  for (const [what, by] of [
    ['back', -HOUR_MS],
    ['forward', HOUR_MS]
  ] as const) {
    it(`keep their time when the clock is set ${what}, those that run and those that come`, () => {
      const { after, pass, setWall, heard } = world()
      after(1_000, 'before')
      pass(500)
      setWall(by)
      after(1_000, 'after')
      pass(400)
      assert.deepEqual(heard, [])
      pass(100)
      assert.deepEqual(heard, ['before'])
      pass(500)
      assert.deepEqual(heard, ['before', 'after'])
      after(1_000, 'later')
      pass(1_000)
      assert.deepEqual(heard, ['before', 'after', 'later'])
    })
  }
})
