import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { Book, type BookLimits, type Kept } from '../../src/shared/history/book.ts'
import { KEPT_MS, MAX_KEPT_MESSAGES, MAX_UNWRITTEN_BYTES } from '../../src/shared/history/limits.ts'
import { inOrder } from '../../src/shared/history/order.ts'
import { HistoryStore } from '../../src/shared/history/store.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { ATTIC, LOBBY, label, range, START, unsigned } from '../support/history-world.ts'
import { temporaryFolder } from '../support/topics.ts'

const AUTHORS = ['ana', 'bob', 'cem'] as const

const placed = fc.record({
  author: fc.constantFrom(...AUTHORS),
  sequence: fc.nat(40),
  sentMs: fc.nat(100)
})

describe('the order of history', () => {
  it('never breaks the order of an author, and depends on the messages alone', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(placed, { selector: label, maxLength: 60 }),
        fc.infiniteStream(fc.nat()),
        (all, luck) => {
          const ordered = inOrder(all)
          assert.deepEqual(ordered.map(label).toSorted(), all.map(label).toSorted())
          for (const author of AUTHORS) {
            const sequences = ordered.filter(each => each.author === author).map(({ sequence }) => sequence)
            assert.deepEqual(
              sequences,
              sequences.toSorted((a, b) => a - b)
            )
          }
          const shuffled = all
            .map(each => ({ each, at: luck.next().value ?? 0 }))
            .sort((a, b) => a.at - b.at)
            .map(({ each }) => each)
          assert.deepEqual(inOrder(shuffled), ordered)
        }
      )
    )
  })

  it('is that of time where every clock goes forward', () => {
    fc.assert(
      fc.property(fc.uniqueArray(placed, { selector: label, maxLength: 60 }), all => {
        const forward = all.map(({ author, sequence }) => ({ author, sequence, sentMs: sequence * 3 + author.length }))
        const times = inOrder(forward).map(({ sentMs }) => sentMs)
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
      })
    )
  })

  it('lets a clock that jumped ahead pull nothing forward', () => {
    const said = [
      { author: 'ana', sequence: 1, sentMs: 10 },
      { author: 'ana', sequence: 2, sentMs: 9_000 },
      { author: 'ana', sequence: 3, sentMs: 12 },
      { author: 'bob', sequence: 1, sentMs: 11 },
      { author: 'bob', sequence: 2, sentMs: 13 }
    ]
    assert.deepEqual(inOrder(said).map(label), ['ana 1', 'bob 1', 'ana 2', 'ana 3', 'bob 2'])
  })
})

/** The rules of the book in the plainest words: a list, and the oldest of the largest share goes. */
class Model {
  list: Kept[] = []
  readonly #limits: BookLimits

  constructor(limits: BookLimits) {
    this.#limits = limits
  }

  add(message: Kept): void {
    const isSame = (each: Kept): boolean => each.topicId === message.topicId && label(each) === label(message)
    if (this.list.some(isSame)) return
    this.list.push(message)
    const ofTopic = (): Kept[] => this.list.filter(({ topicId }) => topicId === message.topicId)
    const bytes = (list: readonly Kept[]): number => list.reduce((sum, each) => sum + each.bytes, 0)
    while (ofTopic().length > this.#limits.maxMessages) this.#dropFrom(ofTopic(), list => list.length)
    while (bytes(ofTopic()) > this.#limits.maxBytes) this.#dropFrom(ofTopic(), bytes)
    while (bytes(this.list) > this.#limits.maxBytesInAll) {
      const topics = [...Map.groupBy(this.list, ({ topicId }) => topicId).values()]
      this.#dropFrom(
        topics.reduce((most, each) => (bytes(each) > bytes(most) ? each : most)),
        bytes
      )
    }
  }

  #dropFrom(list: readonly Kept[], sizeOf: (list: readonly Kept[]) => number): void {
    const shares = [...Map.groupBy(list, ({ author }) => author).values()]
    const most = Math.max(...shares.map(sizeOf))
    const oldest = shares
      .filter(share => sizeOf(share) === most)
      .map(share => share.reduce((first, each) => (each.sequence < first.sequence ? each : first)))
    const victim = oldest.reduce((first, each) => (each.sentMs < first.sentMs ? each : first))
    this.list = this.list.filter(each => each !== victim)
  }
}

describe('the book of what is kept', () => {
  const limits: BookLimits = { maxMessages: 6, maxBytes: 40, maxBytesInAll: 60 }
  // no two sent at one time, so that the rule leaves no choice
  const messages = fc
    .array(
      fc.record({
        topicId: fc.constantFrom('lobby', 'attic'),
        author: fc.constantFrom(...AUTHORS),
        sequence: fc.nat(12),
        bytes: fc.integer({ min: 1, max: 12 })
      }),
      { maxLength: 60 }
    )
    .map(all => all.map((each, at): Kept => ({ ...each, sentMs: ((at * 37) % 61) + at / 100 })))

  it('keeps what the model keeps, and says what goes', () => {
    fc.assert(
      fc.property(messages, all => {
        const book = new Book(limits)
        const model = new Model(limits)
        const onDisk = new Set<Kept>()
        for (const message of all) {
          const isNew = !book.has(message)
          if (isNew) onDisk.add(message)
          for (const gone of book.add(message)) assert.ok(onDisk.delete(gone))
          model.add(message)
          assert.deepEqual([...onDisk].map(tell).sort(), model.list.map(tell).sort())
          assert.equal(book.messages, model.list.length)
          assert.equal(
            book.bytes,
            model.list.reduce((sum, { bytes }) => sum + bytes, 0)
          )
          for (const kept of model.list) assert.ok(book.has(kept))
        }
        for (const topicId of ['lobby', 'attic']) {
          const kept = model.list.filter(each => each.topicId === topicId)
          assert.deepEqual(book.newest(topicId, 4), inOrder(kept).slice(-4))
        }
      })
    )
  })

  it('takes from an author that floods, and leaves the others what they have', () => {
    const book = new Book({ maxMessages: 100 })
    const keep = (author: string, sequence: number): readonly Kept[] =>
      book.add({ topicId: 'lobby', author, sequence, sentMs: sequence, bytes: 10 })
    for (const sequence of range(1, 20)) for (const author of ['ana', 'bob']) keep(author, sequence)
    for (const sequence of range(1, 500)) keep('spam', sequence)
    const kept = Map.groupBy(book.newest('lobby', 1_000), ({ author }) => author)
    assert.equal(kept.get('ana')?.length, 20)
    assert.equal(kept.get('bob')?.length, 20)
    assert.deepEqual(
      kept.get('spam')?.map(({ sequence }) => sequence),
      range(441, 500)
    )
  })

  const tell = ({ topicId, author, sequence }: Kept): string => `${topicId} ${author} ${sequence}`
})

describe('the store of a keeper', () => {
  const open = async (
    datastore = memoryStore().datastore,
    limits: Partial<BookLimits> = {},
    clock = new ManualClock(START + 60_000)
  ): Promise<HistoryStore & { readonly dropped: Record<string, number> }> => {
    const dropped: Record<string, number> = {}
    const onDropped = (reason: string, count: number): void => {
      dropped[reason] = (dropped[reason] ?? 0) + count
    }
    const store = new HistoryStore({ datastore, clock, onDropped }, limits)
    await store.recall()
    return Object.assign(store, { dropped })
  }
  const sequences = (store: HistoryStore, limit = 10_000, topic = LOBBY): number[] =>
    store.newest(topic.id, limit).map(({ sequence }) => sequence)

  it('gives back the newest, with their bytes, at once and after they are written', async () => {
    const store = await open()
    const said = range(1, 30).map(sequence => unsigned('ana', sequence))
    for (const message of said) assert.equal(store.take(message), true)
    for (const _ of ['waiting', 'written']) {
      assert.equal(store.messages, 30)
      const messages = store.newest(LOBBY.id, 10)
      for (const [at, kept] of messages.entries()) assert.deepEqual(await store.read(kept), said[20 + at]?.proof)
      await store.written()
    }
  })

  it('keeps a message once, and the first of two that an author gave one number', async () => {
    const store = await open()
    const first = unsigned('ana', 1, { bytes: 10 })
    assert.equal(store.take(first), true)
    assert.equal(store.take(first), false)
    assert.equal(store.take(unsigned('ana', 1, { bytes: 20 })), false)
    const [kept] = store.newest(LOBBY.id, 9)
    assert.ok(kept)
    assert.deepEqual(await store.read(kept), first.proof)
    assert.equal(store.bytes, 10)
  })

  it('holds the newest 1,000 of a topic, and other topics beside it', async () => {
    const store = await open()
    for (const sequence of range(1, MAX_KEPT_MESSAGES + 50)) store.take(unsigned('ana', sequence))
    store.take(unsigned('ana', 1, { topic: ATTIC }))
    assert.deepEqual(sequences(store), range(51, MAX_KEPT_MESSAGES + 50))
    assert.deepEqual(sequences(store, 9, ATTIC), [1])
    assert.deepEqual(store.dropped, { full: 50 })
  })

  it('holds its bytes: of a topic, and of all together', async () => {
    const store = await open(undefined, { maxBytes: 1_000, maxBytesInAll: 1_500 })
    for (const sequence of range(1, 20)) store.take(unsigned('ana', sequence))
    assert.deepEqual(sequences(store), range(11, 20))
    for (const sequence of range(1, 20)) store.take(unsigned('bob', sequence, { topic: ATTIC }))
    assert.equal(store.bytes, 1_500)
    await store.written()
  })

  it('holds 7 days, counted from when a message came if its author’s clock is ahead', async () => {
    const clock = new ManualClock(START)
    const store = await open(undefined, {}, clock)
    store.take(unsigned('ana', 1, { sentMs: START - 1_000 }))
    store.take(unsigned('ana', 2, { sentMs: START + 200_000 }))
    assert.equal(store.take(unsigned('ana', 3, { sentMs: START - KEPT_MS - 1 })), false)
    clock.advance(KEPT_MS - 1_000)
    assert.deepEqual(sequences(store), [1, 2])
    clock.advance(1)
    assert.deepEqual(sequences(store), [2])
    clock.advance(1_000)
    assert.deepEqual(sequences(store), [])
    assert.deepEqual(store.dropped, { expired: 2 })
  })

  it('does not keep what comes faster than the disk takes it', async () => {
    const store = await open(undefined, { maxBytes: 1e9, maxBytesInAll: 1e9 })
    const large = 65_536
    const fits = Math.floor(MAX_UNWRITTEN_BYTES / large)
    for (const sequence of range(1, fits)) assert.equal(store.take(unsigned('ana', sequence, { bytes: large })), true)
    assert.equal(store.take(unsigned('ana', fits + 1, { bytes: large })), false)
    assert.deepEqual(store.dropped, { busy: 1 })
    await store.written()
    assert.equal(store.take(unsigned('ana', fits + 1, { bytes: large })), true)
  })

  it('finds everything again after a restart, counted, and deletes what is past or not readable', async () => {
    await using folder = await temporaryFolder()
    const said = range(1, 40).map(sequence => unsigned('ana', sequence, { bytes: 50 }))
    {
      await using disk = await openStore(folder.path)
      const store = await open(disk.datastore, { maxMessages: 30 })
      for (const message of said) store.take(message)
      for (const sequence of range(1, 5)) store.take(unsigned('bob', sequence, { sentMs: START - 86_400_000 }))
      await store.written()
    }
    {
      await using disk = await openStore(folder.path)
      const clock = new ManualClock(START + 60_000)
      const store = await open(disk.datastore, { maxMessages: 30 }, clock)
      assert.equal(store.messages, 30)
      assert.equal(store.bytes, 25 * 50 + 5 * 100)
      for (const kept of store.newest(LOBBY.id, 25)) {
        assert.deepEqual(Uint8Array.from((await store.read(kept)) ?? []), said[kept.sequence - 1]?.proof)
      }
    }
    {
      await using disk = await openStore(folder.path)
      const { Key } = await import('interface-datastore')
      await disk.datastore.put(new Key('/muster/history/what/is/this'), new Uint8Array(3))
      const store = await open(
        disk.datastore,
        { maxMessages: 30 },
        new ManualClock(START - 86_400_000 + KEPT_MS + 1_000)
      )
      assert.deepEqual(sequences(store), range(16, 40))
      assert.deepEqual(store.dropped, { expired: 5 })
      const rows = await Array.fromAsync(disk.datastore.queryKeys({ prefix: '/muster/history' }))
      assert.equal(rows.length, 25)
    }
  })

  it('leaves no row behind of what had to go while it was being written', async () => {
    const { datastore } = memoryStore()
    const slow = Promise.withResolvers<void>()
    const batch = datastore.batch.bind(datastore)
    datastore.batch = () => {
      const own = batch()
      return { ...own, commit: async () => await slow.promise.then(() => own.commit()) }
    }
    const store = await open(datastore, { maxMessages: 2 })
    store.take(unsigned('ana', 1))
    await new Promise(resolve => setImmediate(resolve)) // it is on its way to the disk
    store.take(unsigned('ana', 2))
    store.take(unsigned('ana', 3))
    slow.resolve()
    await store.written()
    const rows = await Array.fromAsync(datastore.queryKeys({ prefix: '/muster/history' }))
    assert.equal(rows.length, 2)
    assert.deepEqual(sequences(await open(datastore)), [2, 3])
  })

  it('goes on when the disk fails', async () => {
    const { datastore } = memoryStore()
    const batch = datastore.batch.bind(datastore)
    let isBroken = true
    datastore.batch = () => (isBroken ? { ...batch(), commit: () => Promise.reject(new Error('disk full')) } : batch())
    const store = await open(datastore)
    store.take(unsigned('ana', 1))
    await store.written()
    isBroken = false
    store.take(unsigned('ana', 2))
    await store.written()
    const messages = store.newest(LOBBY.id, 9)
    const proofs = await Promise.all(messages.map(kept => store.read(kept)))
    assert.deepEqual(
      proofs.map(proof => proof?.length),
      [undefined, 100]
    )
  })
})
