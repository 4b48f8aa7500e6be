import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sha256 } from '@noble/hashes/sha2.js'
import fc from 'fast-check'
import { Book, type Held } from '../../src/shared/records/book.ts'
import { HIGH_WATER_PERCENT } from '../../src/shared/records/limits.ts'
import { compareVersions, type Version } from '../../src/shared/records/record.ts'

const kinds = fc.constantFrom('content' as const, 'owned' as const, 'open' as const)

describe('versions of one key', () => {
  const version = fc
    .record({ sequence: fc.nat(3), issuedMs: fc.nat(3), expiresMs: fc.nat(3), salt: fc.nat(3) })
    .map(fields => ({ ...fields, digest: sha256(new TextEncoder().encode(JSON.stringify(fields))) }))
  const versions = kinds.chain(kind =>
    fc.array(
      version.map((each): Version => ({ ...each, kind })),
      { maxLength: 12 }
    )
  )
  const digestsOf = (all: readonly Version[]): string[] => all.map(({ digest }) => Buffer.from(digest).toString('hex'))

  it('have one order, the same for all, in which only the same are equal', () => {
    fc.assert(
      fc.property(versions, all => {
        for (const a of all) {
          for (const b of all) {
            const order = Math.sign(compareVersions(a, b))
            assert.equal(order, -Math.sign(compareVersions(b, a)) + 0)
            assert.equal(order === 0, Buffer.compare(a.digest, b.digest) === 0)
            for (const c of all) {
              if (order > 0 && compareVersions(b, c) > 0) assert.ok(compareVersions(a, c) > 0)
            }
          }
        }
      })
    )
  })

  it('end in the same newest one, in whatever order they come', () => {
    const shuffled = versions.chain(all =>
      fc.tuple(fc.shuffledSubarray(all, { minLength: all.length }), fc.shuffledSubarray(all, { minLength: all.length }))
    )
    fc.assert(
      fc.property(shuffled, ([one, other]) => {
        assert.deepEqual(digestsOf([...one].sort(compareVersions)), digestsOf([...other].sort(compareVersions)))
      })
    )
  })
})

describe('the book of held records', () => {
  const LIMITS = { maxRecords: 10, maxBytes: 1_000, maxOfKind: 6, maxPerAuthor: 4, maxBytesPerAuthor: 500 }
  const KINDS = ['content', 'owned', 'open'] as const
  const command = fc
    .record({
      kind: fc.constantFrom('set' as const, 'take' as const, 'delete' as const),
      at: fc.nat(29),
      author: fc.constantFrom('ana', 'bob', 'cid', 'dan'),
      bytes: fc.integer({ min: 1, max: 300 })
    })
    // a row is of one kind for ever
    .map(({ kind, at, ...held }) => ({ kind, row: `row ${at}`, held: { ...held, kind: KINDS[at % 2] ?? 'open' } }))
  const full = ({ author, kind, bytes }: Pick<Held, 'author' | 'kind' | 'bytes'>): Held => ({
    ...{ author, kind, bytes, place: new Uint8Array(32), digest: new Uint8Array(32) },
    ...{ sequence: 1, issuedMs: 1, expiresMs: 2, receivedMs: 1, heldUntilMs: 2, heardMs: 1, saidMs: 1 }
  })

  it('adds up as a list does, and takes what the limits leave room for', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 80 }), commands => {
        const book = new Book(LIMITS)
        const model = new Map<string, Held>()
        for (const { kind, row, held } of commands) {
          const hasRoom = book.hasRoomFor(row, held)
          assert.equal(hasRoom, hasRoomIn(model, row, held))
          if (kind === 'delete') {
            book.delete(row)
            model.delete(row)
          } else if (kind === 'set' || hasRoom) {
            book.set(row, full(held))
            model.set(row, full(held))
          }
          assert.equal(book.size, model.size)
          assert.equal(book.bytes, sum(model.values()))
          assert.deepEqual(new Map(book.rows()), model)
        }
      })
    )
  })

  it('never passes a limit by what it takes itself', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 120 }), commands => {
        const book = new Book(LIMITS)
        for (const { row, held } of commands) if (book.hasRoomFor(row, held)) book.set(row, full(held))
        const all = [...book.rows()].map(([, held]) => held)
        assert.ok(book.size <= LIMITS.maxRecords && book.bytes <= LIMITS.maxBytes)
        for (const author of ['ana', 'bob', 'cid', 'dan']) {
          const theirs = all.filter(held => held.author === author)
          assert.ok(theirs.length <= LIMITS.maxPerAuthor && sum(theirs) <= LIMITS.maxBytesPerAuthor)
        }
        for (const kind of KINDS) {
          assert.ok(all.filter(held => held.kind === kind).length <= LIMITS.maxOfKind, kind)
        }
      })
    )
  })

  function sum(all: Iterable<Held>): number {
    return [...all].reduce((bytes, held) => bytes + held.bytes, 0)
  }

  function hasRoomIn(
    model: ReadonlyMap<string, Held>,
    row: string,
    held: Pick<Held, 'author' | 'kind' | 'bytes'>
  ): boolean {
    const others = [...model].filter(([other]) => other !== row).map(([, each]) => each)
    const theirs = others.filter(({ author }) => author === held.author)
    if (theirs.length + 1 > LIMITS.maxPerAuthor) return false
    if (sum(theirs) + held.bytes > LIMITS.maxBytesPerAuthor) return false
    if (model.has(row)) return sum(others) + held.bytes <= LIMITS.maxBytes
    const mark = HIGH_WATER_PERCENT / 100
    return (
      model.size < LIMITS.maxRecords * mark &&
      sum(others) + held.bytes <= LIMITS.maxBytes * mark &&
      others.filter(({ kind }) => kind === held.kind).length < LIMITS.maxOfKind
    )
  }
})
