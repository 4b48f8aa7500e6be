import type { LOG_LEVELS } from '../../shared/core/common-options.ts'
import { MusterError } from '../../shared/core/errors.ts'
import { deadline, raceSignal } from '../../shared/core/signals.ts'
import type { Peer, Records } from '../api.ts'
import { findLocalApi, type LocalClient } from './local-client.ts'
import { remoteRecords } from './local-records.ts'
import type { CommandIo } from './once.ts'

/** Milliseconds a command waits until a node answers when it joins the network; more where `--timeout` says so. */
export const JOIN_MS = 5_000

/** Where a command finds its peer. */
export interface DeskOptions {
  readonly bootstrap: readonly string[]
  readonly data: string | undefined
  readonly memory: boolean
  readonly network: string
  readonly preset: 'private' | 'public'
  readonly verbose: boolean
  readonly logLevel: (typeof LOG_LEVELS)[number]
  /** The user named the network. */
  readonly isNetworkGiven: boolean
}

export interface DeskNeeds {
  /** The data folders to look for a running peer in, in their order. */
  folders(data: string | undefined): Promise<readonly string[]>
  /** A peer for this command alone, on a data folder or, with `memory`, on none. */
  createPeer(options: DeskOptions): Promise<Peer>
}

/** The records of a running peer, or of one that runs for a command alone. */
export interface Desk extends AsyncDisposable {
  readonly records: Records
}

/**
 * Opens the records for a command. Without a running peer it joins the network, and waits until a node answers unless
 * `isLocal`.
 * @throws MusterError `unreachable` when none does; `options-invalid` when a peer of another network runs there;
 *   as `createPeer`.
 */
export async function openDesk(
  options: DeskOptions,
  { folders, createPeer }: DeskNeeds,
  io: Pick<CommandIo, 'signal' | 'say'>,
  { isLocal, joinMs }: { readonly isLocal: boolean; readonly joinMs: number }
): Promise<Desk> {
  const say = (line: string): void => {
    if (options.verbose) io.say(line)
  }
  const found = options.memory ? undefined : await findRunning(await folders(options.data), options, io.signal)
  if (found !== undefined) {
    say(`asking the peer that runs on ${found.folder} (process ${found.client.pid})`)
    return { records: remoteRecords(found.client), async [Symbol.asyncDispose]() {} }
  }
  const peer = await createPeer(options)
  try {
    if (!isLocal) {
      say(`joining ${options.network} through ${options.bootstrap.join(', ')} as ${peer.peerId}`)
      await reach(peer, options.bootstrap, joinMs, io.signal)
    }
  } catch (thrown) {
    await peer.close()
    throw thrown
  }
  return { records: peer.records, [Symbol.asyncDispose]: () => peer.close() }
}

/** The first of the folders with a node that runs and is part of the network. */
export async function findRunning(
  folders: readonly string[],
  { data, network, isNetworkGiven }: Pick<DeskOptions, 'data' | 'network' | 'isNetworkGiven'>,
  signal: AbortSignal
): Promise<{ readonly client: LocalClient; readonly folder: string } | undefined> {
  for (const folder of folders) {
    const client = await findLocalApi(folder, signal)
    if (client === undefined) continue
    if (client.network === network || (data !== undefined && !isNetworkGiven)) return { client, folder }
    if (data === undefined) continue
    const text = `--network: received ${network}, but the node that runs on ${folder} is part of ${client.network}`
    throw new MusterError('options-invalid', text)
  }
  return undefined
}

async function reach(peer: Peer, bootstraps: readonly string[], ms: number, signal: AbortSignal): Promise<void> {
  const problems = new Set<string>()
  const ready = Promise.withResolvers<void>()
  if (peer.isReady) return
  using limit = deadline(ms, 'joining', signal)
  const undo = [
    peer.on('ready', () => ready.resolve()),
    peer.on('problem', ({ message }) => void problems.add(message))
  ]
  try {
    await raceSignal(ready.promise, limit.signal)
  } catch (cause) {
    signal.throwIfAborted()
    const tried = `no node answered within ${ms / 1000} s; tried ${bootstraps.join(', ')}`
    throw new MusterError('unreachable', [tried, ...problems].join('; '), { cause })
  } finally {
    for (const step of undo) step()
  }
}
