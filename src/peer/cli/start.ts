import { join } from 'node:path'
import type { PeerId } from '../../shared/core/address.ts'
import { asMusterError, type MusterError } from '../../shared/core/errors.ts'
import { build, type Closable, reportUncaught } from '../../shared/core/lifecycle.ts'
import type { Peer } from '../api.ts'
import { runLine } from './commands.ts'
import { readLines } from './console.ts'
import { ProgressBoard } from './file-progress.ts'
import { Files } from './files.ts'
import { joinHints } from './hint.ts'
import { type Archive, archiveHandlers, recordHandlers } from './local-records.ts'
import { serveLocally } from './local-server.ts'
import type { Printer } from './printer.ts'
import type { Io } from './run.ts'
import { createSession } from './session.ts'

/** What the command line needs of a bootstrap. */
export interface ServedBootstrap extends Closable {
  readonly peerId: PeerId
  readonly addresses: readonly string[]
  readonly httpUrl: string | undefined
  readonly dataFolder: string | undefined
  readonly node: Pick<Peer['node'], 'network'>
  readonly archive: Archive
  /** Resolves once the DHT answers. */
  ready(signal: AbortSignal): Promise<void>
}

/**
 * Prints where the bootstrap is and how peers join, and `ready` when its DHT answers; lets `export` and `import` ask it.
 * Owns the bootstrap: closes it with what it returns.
 */
export function startBootstrap(bootstrap: ServedBootstrap, { printer }: Io): Promise<Closable> {
  return build(async scope => {
    scope.own(bootstrap)
    const { dataFolder, archive, node } = bootstrap
    if (dataFolder !== undefined) scope.own(await serveLocally(dataFolder, node.network, archiveHandlers(archive)))
    announce(bootstrap, printer)
    bootstrap.signal.addEventListener('abort', () => void scope.close(bootstrap.signal.reason))
    return scope
  })
}

function announce(bootstrap: ServedBootstrap, printer: Printer): void {
  const { peerId, addresses, httpUrl: http, signal } = bootstrap
  printer.print({ event: 'listening', role: 'bootstrap', peerId, addresses, http })
  for (const text of joinHints(addresses)) printer.print({ event: 'hint', text })
  bootstrap.ready(signal).then(
    () => printer.print({ event: 'ready' }),
    thrown => {
      if (signal.aborted) return
      const { code, message } = asMusterError(thrown, 'timed-out')
      printer.print({ event: 'error', code, message })
    }
  )
}

/** What a peer adds to the library's `Peer` for its command line. */
export type ServedPeer = Peer & {
  readonly httpUrl: string | undefined
  /** Undefined when nothing is kept on disk. */
  readonly dataFolder: string | undefined
  /** All records that it holds. */
  readonly archive: Archive
}

export interface PeerStart {
  readonly topics: readonly string[]
  /** Where files go that members send; undefined: `files` in the data folder, and none are taken where there is none. */
  readonly files?: string | undefined
}

/**
 * Joins `topics`, lets commands of other processes use the peer's records, and lets the user drive the peer: a console on a terminal, commands a line each on standard input
 * otherwise. The end of standard input ends nothing: containers start with an empty one.
 * Owns the peer: closes it when a topic cannot be joined, and with what it returns.
 */
export function startPeer(peer: ServedPeer, { topics, files }: PeerStart, io: Io): Promise<Closable> {
  return build(async scope => {
    scope.own(peer)
    const { peerId, addresses, httpUrl: http, dataFolder } = peer
    if (dataFolder !== undefined) {
      const handlers = { ...recordHandlers(peer.records), ...archiveHandlers(peer.archive) }
      scope.own(await serveLocally(dataFolder, peer.node.network, handlers))
    }
    io.printer.print({ event: 'listening', role: 'peer', peerId, addresses, http })
    const folder = files ?? (dataFolder === undefined ? undefined : join(dataFolder, 'files'))
    const board = new ProgressBoard(io.printer, io.console?.status)
    const exchange = scope.own(new Files({ printer: io.printer, board }, { folder }))
    const isInteractive = io.console !== undefined
    const session = createSession(peer, io.printer, {
      quit: io.stop,
      files: exchange,
      output: io.output,
      isInteractive
    })
    for (const topic of topics) await session.join(topic)
    const handle = (line: string): Promise<void> => runLine(session, line)
    if (io.console !== undefined) {
      io.printer.print({ event: 'hint', text: 'Type to talk; /help lists the commands.' })
      io.console.start(handle, () => session.current?.topic ?? '', io.stop)
    } else {
      const refuse = (error: MusterError): void => {
        io.printer.print({ event: 'error', code: error.code, message: error.message })
      }
      void readLines(io.host.stdin, handle, refuse, peer.signal).catch(reportUncaught)
    }
    peer.signal.addEventListener('abort', () => void scope.close(peer.signal.reason))
    return scope
  })
}
