import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { encodeFrames } from '../../src/shared/wire/frames.ts'
import { MESSAGE_PROTOCOL, messageFrameCodec } from '../../src/shared/wire/message.ts'
import { STREAM_PROTOCOL, streamFrameCodec } from '../../src/shared/wire/stream.ts'
import { TOPIC_PROTOCOL, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import {
  addProviderFrame,
  garbage,
  isReset,
  pour,
  rawStream,
  sockets,
  stranger,
  targetOf
} from '../support/attacker.ts'
import { LOBBY, openArena, tamperingProxy } from '../support/attacker-arena.ts'
import { eventually } from '../support/eventually.ts'
import { plainCaller } from '../support/plain.ts'

const TEST = { timeout: 60_000 }
const VICTIMS = ['bootstrap', 'peer'] as const

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const repeated = (count: number, frame: Uint8Array): Uint8Array =>
  encodeFrames(Array.from({ length: count }, () => frame))
/** Field 99, length-delimited, three bytes. */
const UNKNOWN_FIELD = bytes(0x9a, 0x06, 3, 1, 2, 3)

/** Only members talk to members. */
const NOT_OF_BOOTSTRAPS: readonly string[] = [MESSAGE_PROTOCOL, STREAM_PROTOCOL]

const CASES: Readonly<Record<string, ReadonlyArray<{ readonly what: string; readonly said: Uint8Array }>>> = {
  [TOPIC_PROTOCOL]: [
    { what: 'random bytes', said: garbage(1, 100_000) },
    { what: 'a frame of 4 GiB', said: bytes(0xff, 0xff, 0xff, 0xff, 1, 2, 3) },
    { what: 'an empty frame', said: repeated(1, bytes()) },
    { what: 'nothing but unknown fields', said: repeated(1, UNKNOWN_FIELD) },
    { what: 'frames without end', said: repeated(5_000, topicFrameCodec.encode({ unwatch: { topic: LOBBY.key } })) },
    {
      what: 'an answer to no question',
      said: repeated(1, topicFrameCodec.encode({ members: { topic: LOBBY.key, entries: [] } }))
    },
    {
      what: 'a topic key that is none',
      said: repeated(1, topicFrameCodec.encode({ hello: { topic: garbage(2, 36) } }))
    }
  ],
  [MESSAGE_PROTOCOL]: [
    { what: 'random bytes', said: garbage(3, 100_000) },
    { what: 'a frame of 4 GiB', said: bytes(0xff, 0xff, 0xff, 0xff, 1, 2, 3) },
    { what: 'an empty frame', said: repeated(1, bytes()) },
    { what: 'nothing but unknown fields', said: repeated(1, UNKNOWN_FIELD) },
    { what: 'frames without end', said: repeated(5_000, messageFrameCodec.encode({ receipt: { id: 1 } })) },
    {
      what: 'a message before it is opened',
      said: repeated(1, messageFrameCodec.encode({ message: { id: 1, kind: 0, body: bytes(0x31) } }))
    },
    {
      what: 'an OPEN with a record that is none',
      said: repeated(
        1,
        messageFrameCodec.encode({
          open: { topic: LOBBY.key, envelope: garbage(4, 200), session: 1, maxBytes: 1 }
        })
      )
    }
  ],
  [STREAM_PROTOCOL]: [
    { what: 'random bytes', said: garbage(8, 100_000) },
    { what: 'a frame of 4 GiB', said: bytes(0xff, 0xff, 0xff, 0xff, 1, 2, 3) },
    { what: 'a frame of one byte more than may be', said: encodeFrames([bytes(), new Uint8Array(65_601)]).slice(4) },
    { what: 'nothing but unknown fields', said: repeated(1, UNKNOWN_FIELD) },
    { what: 'data before it is opened', said: repeated(1_000, streamFrameCodec.encode({ data: garbage(9, 100) })) },
    {
      what: 'an OPEN with a record that is none',
      said: repeated(1, streamFrameCodec.encode({ open: { topic: LOBBY.key, envelope: garbage(10, 200), name: 'x' } }))
    }
  ],
  'kad/1.0.0': [
    { what: 'random bytes', said: garbage(5, 100_000) },
    { what: 'an endless length', said: new Uint8Array(1_000_000).fill(0xff) },
    { what: 'a frame of 3.9 MB', said: bytes(0xe0, 0x84, 0xee, 0x01, 1) },
    { what: 'empty frames', said: new Uint8Array(1_000) },
    { what: 'nothing but unknown fields', said: bytes(UNKNOWN_FIELD.length, ...UNKNOWN_FIELD) },
    { what: 'a request of an unknown kind', said: bytes(2, 8, 77) },
    { what: 'a key that is none', said: bytes(7, 8, 3, 0x12, 3, 1, 2, 3) }
  ]
}

for (const who of VICTIMS) {
  describe(`a ${who}, below its protocols`, () => {
    it('closes sockets that bring garbage', TEST, async () => {
      await using arena = await openArena()
      await arena.withstands(async () => {
        const all = await sockets(arena, arena.victim(who), 20)
        for (const [i, socket] of all.entries())
          socket.write(i % 2 === 0 ? garbage(i, 50_000) : '\x13/multistream/1.0.0\n')
        await eventually('all are closed', () => all.every(socket => socket.destroyed))
      })
    })

    it('lives with 300 silent sockets, and lets a newcomer in', TEST, async () => {
      await using arena = await openArena()
      await arena.withstands(async () => {
        const all = await sockets(arena, arena.victim(who), 300)
        const newcomer = await arena.newcomer()
        const group = await newcomer.join(LOBBY.name)
        await eventually('the newcomer meets both', () => group.members().length === 2)
        await eventually('all are closed', () => all.every(socket => socket.destroyed))
      })
    })

    it('drops a connection that brings garbage after the handshake', TEST, async () => {
      await using arena = await openArena()
      await arena.withstands(async () => {
        const proxy = await tamperingProxy(arena, arena.victim(who))
        const caller = await plainCaller(arena)
        await caller.dial(multiaddr(proxy.address))
        await eventually('it is in', () => arena.victim(who).isConnected(caller.peerId.toString()))
        proxy.inject(garbage(6, 70_000))
        await eventually('it is out', () => !arena.victim(who).isConnected(caller.peerId.toString()), {
          withinMs: 40_000
        })
      })
    })

    it('drops a connection that brings garbage where yamux should be', TEST, async () => {
      await using arena = await openArena()
      await arena.withstands(async () => {
        const factory = yamux()
        const caller = await plainCaller(arena, {
          streamMuxers: [
            () => {
              const real = factory()
              return Object.assign(Object.create(real), {
                protocol: real.protocol,
                createStreamMuxer(connection: Parameters<typeof real.createStreamMuxer>[0]) {
                  connection.send(garbage(7, 10_000))
                  return real.createStreamMuxer(connection)
                }
              })
            }
          ]
        })
        const closed = new Promise(resolve => caller.addEventListener('peer:disconnect', resolve, { once: true }))
        const dialled = await caller.dial(targetOf(arena.victim(who))).catch(() => undefined)
        if (dialled !== undefined && dialled.status === 'open') await closed
        await eventually('it is out', () => !arena.victim(who).isConnected(caller.peerId.toString()))
      })
    })
  })

  describe(`a ${who} hears nonsense on its protocols`, () => {
    for (const [protocol, cases] of Object.entries(CASES)) {
      if (who === 'bootstrap' && NOT_OF_BOOTSTRAPS.includes(protocol)) continue
      it(`${protocol}: breaks the stream off, and nothing else`, TEST, async () => {
        await using arena = await openArena()
        const evil = await stranger(arena, arena.victim(who))
        await arena.victim(who).dht.ready()
        for (const { what, said } of cases) {
          await arena.withstands(async () => {
            const stream = await rawStream(evil, arena.victim(who), protocol)
            pour(stream, said)
            await isReset(stream, what)
          })
        }
      })
    }

    it('refuses twenty thousand addresses', TEST, async () => {
      await using arena = await openArena()
      const evil = await stranger(arena, arena.victim(who))
      await arena.victim(who).dht.ready()
      await arena.withstands(async () => {
        const stream = await rawStream(evil, arena.victim(who), 'kad/1.0.0')
        pour(stream, addProviderFrame(LOBBY.key, evil.peerId, 20_000))
        await isReset(stream, '20,000 addresses')
      })
      const known = await arena.victim(who).libp2p.peerStore.get(evil.peerId)
      assert.ok(known.addresses.length <= 16)
    })
  })
}
