import type { Libp2p, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { encode as varint } from 'uint8-varint'
import { concatBytes } from '../../src/shared/core/bytes.ts'
import type { Scope } from '../../src/shared/core/lifecycle.ts'
import type { Identity } from '../../src/shared/node/keys.ts'
import { signPubsub } from '../../src/shared/node/pubsub.ts'
import { codec } from '../../src/shared/wire/codec.ts'
import { plainCaller } from './plain.ts'

// What a stranger can say who speaks gossipsub's protocol properly and means harm above it.

const subscription = codec({ subscribe: { id: 1, type: 'bool' }, topic: { id: 2, type: 'string' } })
const graft = codec({ topic: { id: 1, type: 'string' } })
const control = codec({ graft: { id: 3, message: graft, repeated: 10_000 } })
const rpcCodec = codec({
  subscriptions: { id: 1, message: subscription, repeated: 10_000 },
  messages: { id: 2, type: 'bytes', repeated: 10_000 },
  control: { id: 3, message: control }
})

export interface Rpc {
  readonly subscriptions?: ReadonlyArray<{ readonly subscribe: boolean; readonly topic: string }>
  readonly messages?: readonly Uint8Array[]
  readonly control?: { readonly graft: ReadonlyArray<{ readonly topic: string }> }
}

export function rpcFrame({ subscriptions = [], messages = [], ...rest }: Rpc): Uint8Array {
  const rpc = rpcCodec.encode({ subscriptions, messages, ...rest })
  return concatBytes([Uint8Array.from(varint(rpc.length)), rpc])
}

/** Somebody without a node of ours, with streams of gossipsub to its victims. */
export interface Spammer {
  readonly libp2p: Libp2p
  readonly peerId: string
  /** A gossip stream to a node, in the topic. */
  attack(victim: { readonly getMultiaddrs: () => ReadonlyArray<{ toString(): string }> }): Promise<Stream>
  /** A message of its own, signed properly. */
  sign(data: Uint8Array): Promise<Uint8Array>
}

export async function spammer(scope: Scope, identity: Identity, topic: string): Promise<Spammer> {
  const libp2p = await plainCaller(scope, { privateKey: identity.privateKey })
  await libp2p.handle('/meshsub/1.2.0', stream => stream.addEventListener('message', () => undefined)) // reads, says nothing
  return {
    libp2p,
    peerId: identity.peerId,
    async attack(victim) {
      const [address] = victim.getMultiaddrs()
      const stream = await libp2p.dialProtocol(multiaddr(String(address)), '/meshsub/1.2.0')
      stream.addEventListener('message', () => undefined)
      stream.send(rpcFrame({ subscriptions: [{ subscribe: true, topic }], control: { graft: [{ topic }] } }))
      return stream
    },
    sign: signer(identity, topic)
  }
}

/** Signs messages of one author, each with the next number of gossipsub's. */
export function signer(identity: Identity, topic: string): Spammer['sign'] {
  let last = 0n
  return async data => {
    const seqno = new Uint8Array(8)
    new DataView(seqno.buffer).setBigUint64(0, ++last)
    return await signPubsub(identity.privateKey, { data, seqno, topic })
  }
}

/** The same message, with a signature that does not fit. */
export function forged(proof: Uint8Array): Uint8Array {
  const copy = proof.slice()
  const at = copy.length - 50 // in the signature: 64 bytes, with 38 of the key and its tag behind them
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}
