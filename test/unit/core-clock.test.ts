import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock, sleep, systemClock } from '../../src/shared/core/clock.ts'

describe('manual clock', () => {
  it('stands still until it is moved', () => {
    const clock = new ManualClock(1_000)
    let calls = 0
    clock.after(10, () => calls++)
    assert.equal(clock.now(), 1_000)
    clock.advance(9)
    assert.deepEqual([clock.now(), calls], [1_009, 0])
    clock.advance(1)
    assert.deepEqual([clock.now(), calls], [1_010, 1])
    clock.advance(100)
    assert.equal(calls, 1)
  })

  it('runs what is due in order of time, then of asking, each at its own moment', () => {
    const clock = new ManualClock(0)
    const heard: string[] = []
    const say = (what: string) => () => heard.push(`${what}@${clock.now()}`)
    clock.after(20, say('late'))
    clock.after(10, say('first'))
    clock.after(10, say('second'))
    clock.after(0, say('now'))
    clock.advance(50)
    assert.deepEqual(heard, ['now@0', 'first@10', 'second@10', 'late@20'])
    assert.equal(clock.now(), 50)
  })

  it('runs what a timer asked for, when that falls due too', () => {
    const clock = new ManualClock(0)
    const heard: number[] = []
    clock.after(10, () => {
      heard.push(clock.now())
      clock.after(10, () => heard.push(clock.now()))
    })
    clock.advance(20)
    assert.deepEqual(heard, [10, 20])
  })

  it('repeats every so often until it is told to stop', () => {
    const clock = new ManualClock(0)
    const heard: number[] = []
    const stop = clock.every(10, () => heard.push(clock.now()))
    clock.advance(35)
    stop()
    clock.advance(100)
    assert.deepEqual(heard, [10, 20, 30])
  })

  it('lets a repetition end itself, and a timer undo another', () => {
    const clock = new ManualClock(0)
    let calls = 0
    const stop = clock.every(10, () => {
      calls++
      stop()
    })
    const undo = clock.after(10, () => calls++)
    clock.after(5, undo)
    clock.advance(100)
    assert.equal(calls, 1)
  })
})

describe('sleep', () => {
  it('resolves when the clock has come so far', async () => {
    const clock = new ManualClock()
    let isOver = false
    const sleeping = sleep(clock, 10, new AbortController().signal).then(() => {
      isOver = true
    })
    clock.advance(9)
    await Promise.resolve()
    assert.equal(isOver, false)
    clock.advance(1)
    await sleeping
  })

  it('rejects with the reason of the signal, before and during', async () => {
    const controller = new AbortController()
    const clock = new ManualClock()
    const sleeping = sleep(clock, 10, controller.signal)
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(sleeping, reason)
    await assert.rejects(sleep(clock, 10, controller.signal), reason)
    clock.advance(100)
  })
})

describe('system clock', () => {
  it('calls once, and not at all when undone', async () => {
    const heard: string[] = []
    const keepAlive = setInterval(() => undefined, 1_000)
    systemClock.after(1, () => heard.push('undone'))()
    await new Promise<void>(resolve => systemClock.after(2, resolve))
    let calls = 0
    await new Promise<void>(resolve => {
      const stop = systemClock.every(1, () => {
        if (++calls < 3) return
        stop()
        resolve()
      })
    })
    clearInterval(keepAlive)
    assert.deepEqual([heard, calls], [[], 3])
  })
})
