import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { sample, seededRandom } from '../../src/shared/core/random.ts'
import { MAX_TOPIC_BYTES, normalTopicName, topicIdOf, topicOf } from '../../src/shared/core/topic.ts'

/** Name, topic key. The same table is in docs/protocols/topic.md: whoever computes another key is in another topic. */
const VECTORS = [
  ['global-chat', 'bafkreie6k6sladzumo2may5dealkxeoss4hrlh4ntptrngdtitlfx3pwlq'],
  ['a', 'bafkreiewltcxzefs442zwoamwqlwjrz7tepcq5uu774azdkz7ttu77iupq'],
  ['Grüße, Welt', 'bafkreidl76xzucprmkyyppjalbabkgjmmp3c4yrbb3md46wz6h3uwziuom'],
  ['日本語', 'bafkreidvnhm73glyggd27ybf72o4eelft72h2x4este7thgojx7uo7yp3u']
] as const

describe('topic key', () => {
  for (const [name, id] of VECTORS) {
    it(`of ${name} is ${id}`, async () => {
      const topic = await topicOf(name)
      assert.deepEqual([topic.name, topic.id], [name, id])
      assert.equal(topic.key.length, 36)
      assert.equal(topicIdOf(topic.key), id)
    })
  }

  it('is that of the hash of the name, with the domain in front', async () => {
    const { createHash } = await import('node:crypto')
    const digest = createHash('sha256').update('muster/topic/1\nglobal-chat').digest()
    const { key } = await topicOf('global-chat')
    assert.deepEqual([...key], [1, 0x55, 0x12, 0x20, ...digest])
  })

  it('is the same however the name is composed', async () => {
    const [composed, decomposed] = [await topicOf('Gr\u00fc\u00dfe'), await topicOf('Gru\u0308\u00dfe')]
    assert.equal(decomposed.id, composed.id)
    assert.equal(decomposed.name, 'Gr\u00fc\u00dfe')
  })

  it('keeps spaces and case apart', async () => {
    const ids = await Promise.all(['chat', 'Chat', ' chat', 'chat\n'].map(async name => (await topicOf(name)).id))
    assert.equal(new Set(ids).size, 4)
  })
})

describe('topic name', () => {
  it('has 1 to 256 bytes in normal form C', () => {
    assert.equal(normalTopicName('x'.repeat(MAX_TOPIC_BYTES)).length, 256)
    assert.equal(normalTopicName('u\u0308'.repeat(128)).length, 128) // 384 bytes before, 256 after
    for (const bad of ['', 'x'.repeat(257), 'ä'.repeat(129), '\ud800', 'a\udc00b', 7, undefined, null, {}]) {
      assert.throws(
        () => normalTopicName(bad),
        error => isMusterError(error, 'topic-invalid')
      )
    }
  })

  it('that is refused has no key', async () => {
    await assert.rejects(topicOf(''), error => isMusterError(error, 'topic-invalid'))
  })
})

describe('topic key bytes', () => {
  it('are refused unless they are a CIDv1, raw, sha2-256 of 32 bytes', async () => {
    const { key } = await topicOf('x')
    const changed = (at: number, byte: number): Uint8Array => key.with(at, byte)
    const bad = [
      new Uint8Array(0),
      key.subarray(0, 35),
      Uint8Array.of(...key, 0),
      changed(0, 2),
      changed(1, 0x70),
      changed(2, 0x13),
      changed(3, 0x1f),
      key.subarray(2), // a CIDv0
      new Uint8Array(36).fill(0xff)
    ]
    for (const bytes of bad) {
      assert.throws(
        () => topicIdOf(bytes),
        error => isMusterError(error, 'protocol-violation'),
        String(bytes)
      )
    }
  })
})

describe('random', () => {
  it('replays a seed, in [0, 1)', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed)
      return Array.from({ length: 1_000 }, () => random())
    }
    assert.deepEqual(draw(3), draw(3))
    assert.notDeepEqual(draw(3), draw(4))
    const numbers = draw(5)
    assert.ok(numbers.every(number => number >= 0 && number < 1))
    const mean = numbers.reduce((sum, number) => sum + number) / numbers.length
    assert.ok(Math.abs(mean - 0.5) < 0.05)
  })

  it('samples different elements, all when there are fewer, and leaves the list as it was', () => {
    const items = [1, 2, 3, 4, 5]
    const random = seededRandom(1)
    for (let count = 0; count <= 7; count++) {
      const got = sample(items, count, random)
      assert.equal(new Set(got).size, Math.min(count, 5))
      assert.ok(got.every(item => items.includes(item)))
    }
    assert.deepEqual(items, [1, 2, 3, 4, 5])
    const firsts = new Set(Array.from({ length: 100 }, () => sample(items, 1, random)[0]))
    assert.equal(firsts.size, 5)
  })
})
