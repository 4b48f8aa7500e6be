import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { deafRegistrar, type GossipInside, splitOutbound } from '../../src/shared/node/gossip-inside.ts'
import { MAX_GOSSIP_MESSAGES_PER_RPC, MAX_GOSSIP_RPC_BYTES } from '../../src/shared/node/gossip-limits.ts'

type Sent = Parameters<GossipInside['sendRpc']>[1]

/** What goes out when gossipsub sends `rpc`; the stream takes `takes` RPCs. */
function sent(rpc: Sent, takes = Number.POSITIVE_INFINITY): { readonly all: Sent[]; readonly isSent: boolean } {
  const all: Sent[] = []
  const inside = {
    sendRpc(_id: string, each: Sent) {
      if (all.length >= takes) return false
      all.push(each)
      return true
    }
  } as unknown as GossipInside
  splitOutbound(inside)
  return { all, isSent: inside.sendRpc('ana', rpc) }
}

const messages = (count: number, bytes: number): Sent['messages'] =>
  Array.from({ length: count }, (_, at) => ({ topic: String(at), data: new Uint8Array(bytes) }))

describe('what a neighbour asked for', () => {
  it('goes out in RPCs that it takes, in order, with the rest of the RPC once', () => {
    const wanted = messages(100, 65_000)
    const { all, isSent } = sent({ messages: wanted, control: 'prune' })
    assert.ok(isSent)
    assert.deepEqual(
      all.flatMap(rpc => rpc.messages),
      wanted
    )
    assert.deepEqual(
      all.map(({ control }) => control),
      ['prune', ...Array.from({ length: all.length - 1 }, () => undefined)]
    )
    for (const rpc of all) {
      const bytes = rpc.messages.reduce((sum, { data }) => sum + (data?.length ?? 0), 0)
      assert.ok(bytes < MAX_GOSSIP_RPC_BYTES && rpc.messages.length > 1)
    }
  })

  it('is split by number, too', () => {
    const { all } = sent({ messages: messages(3 * MAX_GOSSIP_MESSAGES_PER_RPC, 1) })
    assert.deepEqual(
      all.map(rpc => rpc.messages.length),
      Array.from({ length: 3 }, () => MAX_GOSSIP_MESSAGES_PER_RPC)
    )
  })

  it('is not said to be sent when a part of it was not', () => {
    assert.equal(sent({ messages: messages(100, 65_000) }, 2).isSent, false)
  })

  it('stays one RPC when it fits, and when there is nothing in it', () => {
    for (const count of [0, 1, 3]) assert.equal(sent({ messages: messages(count, 65_000), control: 'x' }).all.length, 1)
  })
})

describe('the registrar that gossipsub sees', () => {
  it('serves its protocols only when it is told to: what came earlier would never be read', async () => {
    const served: string[] = []
    const registrar = {
      handle: async (protocol: string) => void served.push(protocol),
      register: async () => assert.fail('peers are ours to tell of'),
      getProtocols: () => ['/a']
    }
    const { registrar: deaf, serve } = deafRegistrar(registrar as unknown as Parameters<typeof deafRegistrar>[0])
    await deaf.handle('/meshsub/1.2.0', () => undefined)
    assert.equal(await deaf.register('/meshsub/1.2.0', {}), 'deaf')
    assert.deepEqual([served, deaf.getProtocols()], [[], ['/a']])
    await serve()
    assert.deepEqual(served, ['/meshsub/1.2.0'])
  })
})
