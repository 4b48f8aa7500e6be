import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { asError, asMusterError, isMusterError, MusterError } from '../../src/shared/core/errors.ts'
import { Emitter } from '../../src/shared/core/events.ts'
import { build, Scope } from '../../src/shared/core/lifecycle.ts'
import { deadline, raceSignal } from '../../src/shared/core/signals.ts'

describe('scope', () => {
  it('releases newest first, once, and aborts its signal before that', async () => {
    const scope = new Scope()
    const heard: string[] = []
    scope.defer(() => heard.push('first made'))
    scope.own({ close: async () => heard.push('last made') })
    scope.signal.addEventListener('abort', () => heard.push('signal'))
    const closing = scope.close()
    assert.equal(scope.signal.aborted, true)
    assert.ok(isMusterError(scope.signal.reason, 'closed'))
    assert.equal(scope.close(), closing)
    await closing
    await scope[Symbol.asyncDispose]()
    assert.deepEqual(heard, ['signal', 'last made', 'first made'])
  })

  it('waits for one release before it begins the next', async () => {
    const scope = new Scope()
    const heard: string[] = []
    scope.defer(() => heard.push('under it'))
    scope.defer(async () => {
      await new Promise(resolve => setImmediate(resolve))
      heard.push('on top')
    })
    await scope.close()
    assert.deepEqual(heard, ['on top', 'under it'])
  })

  it('releases everything though a part fails, then reports the failures', async () => {
    const one = new Scope()
    let isReleased = false
    one.defer(() => {
      isReleased = true
    })
    one.defer(() => Promise.reject(new Error('stuck')))
    await assert.rejects(one.close(), /^Error: stuck$/)
    assert.equal(isReleased, true)

    const two = new Scope()
    for (const word of ['a', 'b']) two.defer(() => Promise.reject(new Error(word)))
    const error = await two.close().then(
      () => undefined,
      thrown => thrown
    )
    assert.ok(error instanceof AggregateError)
    assert.deepEqual(
      error.errors.map(({ message }: Error) => message),
      ['b', 'a']
    )
  })

  it('releases at once what comes when it is closing already', async () => {
    const scope = new Scope()
    await scope.close()
    await new Promise<void>(resolve => scope.defer(resolve))
  })

  it('build hands over what was made, and releases it when birth fails half-way', async () => {
    const heard: string[] = []
    const made = await build(async scope => {
      scope.defer(() => heard.push('good'))
      return { scope }
    })
    assert.equal(heard.length, 0)
    await made.scope.close()
    await assert.rejects(
      build(async scope => {
        scope.defer(() => heard.push('half'))
        scope.defer(() => Promise.reject(new Error('while releasing')))
        throw new Error('no birth')
      }),
      /^Error: no birth$/
    )
    assert.deepEqual(heard, ['good', 'half'])
  })
})

describe('emitter', () => {
  it('tells all listeners in order until they undo', () => {
    const emitter = new Emitter<{ word: string; other: number }>()
    const heard: string[] = []
    const undo = emitter.on('word', word => heard.push(`1 ${word}`))
    emitter.on('word', word => heard.push(`2 ${word}`))
    emitter.emit('word', 'a')
    undo()
    undo()
    emitter.emit('word', 'b')
    emitter.emit('other', 1)
    assert.deepEqual(heard, ['1 a', '2 a', '2 b'])
    assert.deepEqual([emitter.listenerCount('word'), emitter.listenerCount('other')], [1, 0])
  })

  it('takes the same function twice, and each undo undoes its own', () => {
    const emitter = new Emitter<{ word: string }>()
    let calls = 0
    const listener = (): void => void calls++
    const undo = emitter.on('word', listener)
    emitter.on('word', listener)
    undo()
    emitter.emit('word', 'a')
    assert.equal(calls, 1)
  })

  it('does not tell a listener that was added while it was telling', () => {
    const emitter = new Emitter<{ word: string }>()
    let calls = 0
    emitter.on('word', () => void emitter.on('word', () => void calls++))
    emitter.emit('word', 'a')
    assert.equal(calls, 0)
  })

  it('lets the others hear when a listener throws, and raises its error as uncaught', async () => {
    const emitter = new Emitter<{ word: string }>()
    const bug = new Error('a bug')
    emitter.on('word', () => {
      throw bug
    })
    let isHeard = false
    emitter.on('word', () => {
      isHeard = true
    })
    // the test runner listens for uncaught errors too: ours alone for one turn
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const uncaught = new Promise<Error>(resolve => process.once('uncaughtException', resolve))
    try {
      emitter.emit('word', 'a')
      assert.equal(isHeard, true)
      assert.equal(await uncaught, bug)
    } finally {
      for (const other of others) process.on('uncaughtException', other)
    }
  })
})

describe('errors', () => {
  it('are compared by code', () => {
    const error = new MusterError('too-large', undefined, { cause: 'a stranger' })
    assert.equal(error.message, 'The value is larger than the limit.')
    assert.deepEqual(
      [isMusterError(error), isMusterError(error, 'too-large'), isMusterError(error, 'closed')],
      [true, true, false]
    )
    assert.equal(isMusterError(new Error('too-large')), false)
  })

  it('whatever was thrown becomes an Error', () => {
    const error = new Error('x')
    assert.equal(asError(error), error)
    assert.equal(asError({ error }), error)
    assert.equal(asError({ type: 'close' }).message, 'close')
    assert.equal(asError('x').message, 'x')
    assert.equal(asError(undefined).message, 'undefined')
    assert.equal(asError({}).message, 'unknown failure')
  })

  it('get the code that fits', () => {
    const own = new MusterError('refused')
    assert.equal(asMusterError(own, 'closed'), own)
    assert.equal(asMusterError(new DOMException('x', 'TimeoutError'), 'closed').code, 'timed-out')
    assert.equal(asMusterError(AbortSignal.abort().reason, 'closed').code, 'aborted')
    assert.equal(asMusterError('x', 'unreachable').code, 'unreachable')
  })
})

describe('deadline', () => {
  it('says what was waited for', async () => {
    using limit = deadline(1, 'dial bob')
    await new Promise(resolve => limit.signal.addEventListener('abort', resolve))
    assert.ok(isMusterError(limit.signal.reason, 'timed-out'))
    assert.match(limit.signal.reason.message, /^dial bob: /)
  })

  it('passes the reason of any signal on, before and after, until it is disposed', () => {
    const reason = new Error('enough')
    using early = deadline(60_000, 'x', undefined, AbortSignal.abort(reason))
    assert.equal(early.signal.reason, reason)
    const controller = new AbortController()
    const limit = deadline(60_000, 'x', controller.signal)
    limit[Symbol.dispose]()
    controller.abort(reason)
    assert.equal(limit.signal.aborted, false)
  })

  it('raceSignal ends with the promise or the signal, whichever is first', async () => {
    const controller = new AbortController()
    assert.equal(await raceSignal(Promise.resolve(1), controller.signal), 1)
    await assert.rejects(raceSignal(Promise.reject(new Error('x')), controller.signal), /x/)
    const racing = raceSignal(new Promise(() => undefined), controller.signal)
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(racing, reason)
    await assert.rejects(raceSignal(Promise.resolve(1), controller.signal), reason)
  })
})
