import type {
  Connection,
  MessageStream,
  MultiaddrConnection,
  StreamMuxerFactory,
  Transport,
  Upgrader
} from '@libp2p/interface'
import { select } from '@libp2p/multistream-select'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { CODE_P2P } from '@multiformats/multiaddr'
import { asError } from '../core/errors.ts'
import { agreement, proposal } from './negotiate.ts'
import { boundedLengths } from './negotiation-guard.ts'
import { withOverrides } from './overrides.ts'

const NOISE = '/noise'

interface UpgradeOptions {
  readonly signal: AbortSignal
}

/**
 * `@libp2p/tcp`, one round trip faster to dial: the proposal of Noise and the first message of its handshake leave
 * together, where libp2p waits for the answer to the one proposal it makes. What is on the wire is the same
 * (docs/decisions/0003); a listener that does not speak Noise says so, and the dial fails. Whoever dials us negotiates
 * with bounded lengths.
 */
export function eagerTcp(
  ...init: Parameters<typeof tcp>
): (components: Parameters<ReturnType<typeof tcp>>[0]) => Transport {
  return components => {
    const transport = tcp(...init)(components)
    return withOverrides<Transport>(transport, {
      dial: (address, options) => transport.dial(address, { ...options, upgrader: eager(options.upgrader) }),
      createListener: options => transport.createListener({ ...options, upgrader: bounded(options.upgrader) })
    })
  }
}

function eager(upgrader: Upgrader): Upgrader {
  return withOverrides<Upgrader>(upgrader, {
    upgradeOutbound: ((socket: MultiaddrConnection, options: UpgradeOptions) =>
      upgrade(upgrader, socket, { ...options, ...boundedLengths() })) as never
  })
}

/** The options of an upgrade are those of its negotiations too: of the encryption, and of a muxer that Noise did not name. */
function bounded(upgrader: Upgrader): Upgrader {
  return withOverrides<Upgrader>(upgrader, {
    upgradeInbound: ((socket: MultiaddrConnection, options: UpgradeOptions) =>
      upgrader.upgradeInbound(socket, { ...options, ...boundedLengths() } as never)) as never
  })
}

async function upgrade(upgrader: Upgrader, socket: MultiaddrConnection, options: UpgradeOptions): Promise<Connection> {
  const encrypter = upgrader.getConnectionEncrypters().get(NOISE)
  if (encrypter === undefined) return await upgrader.upgradeOutbound(socket, options)
  const expected = socket.remoteAddr.getComponents().findLast(component => component.code === CODE_P2P)?.value
  skipAgreement(socket)
  socket.send(proposal(NOISE))
  const { connection, remotePeer, streamMuxer } = await encrypter.secureOutbound(socket, {
    signal: options.signal,
    ...(expected === undefined ? {} : { remotePeer: peerIdFromString(expected) })
  })
  const factory = streamMuxer ?? (await muxerFor(upgrader, connection, options))
  // the upgrader takes the raw socket for the connection, and the muxer made here runs over the encrypted stream
  const muxerFactory: StreamMuxerFactory = {
    protocol: factory.protocol,
    createStreamMuxer: () => factory.createStreamMuxer(connection)
  }
  return await upgrader.upgradeOutbound(socket, { ...options, skipEncryption: true, remotePeer, muxerFactory } as never)
}

/** Keeps the answer to the proposal from the handshake, which reads what comes after it. */
function skipAgreement(socket: MultiaddrConnection): void {
  const inner = socket as MultiaddrConnection & { onData(data: { subarray(): Uint8Array }): void }
  const answer = agreement(NOISE)
  const deliver = inner.onData
  inner.onData = data => {
    try {
      const rest = answer.push(data.subarray())
      if (rest === undefined) return
      inner.onData = deliver
      if (rest.length > 0) deliver.call(inner, rest)
    } catch (thrown) {
      socket.abort(asError(thrown))
    }
  }
}

/** For a listener that does not name its muxer inside the handshake. */
async function muxerFor(
  upgrader: Upgrader,
  stream: MessageStream,
  options: UpgradeOptions
): Promise<StreamMuxerFactory> {
  const muxers = upgrader.getStreamMuxers()
  const chosen = muxers.get(await select(stream, [...muxers.keys()], options))
  if (chosen === undefined) throw new Error('no muxer in common')
  return chosen
}
