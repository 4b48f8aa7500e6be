import { existsSync } from 'node:fs'
import { helpText } from '../shared/core/command-line.ts'
import { programVersion } from '../shared/host/version.server.ts'
import { archiveCommands } from './cli/archive-run.ts'
import { keepCompiledCode, processHost } from './cli/host.ts'
import { runOnce } from './cli/once.ts'
import { PEER_ARCHIVE_OPTIONS } from './cli/record-options.ts'
import { recordCommands } from './cli/record-run.ts'
import { run } from './cli/run.ts'
import { startPeer } from './cli/start.ts'
import { commandLineFrom, PEER_COMMANDS, PEER_OPTIONS } from './options.ts'

keepCompiledCode()
const host = processHost()
const facts = { version: programVersion, program: 'npm run peer --' }

/** The folder that is named, or those that peers of this user take when none is. */
async function folders(data: string | undefined): Promise<readonly string[]> {
  if (data !== undefined) return [data]
  const { DEFAULT_PEER_SLOTS, defaultDataFolder } = await import('../shared/store/paths.server.ts')
  return Array.from({ length: DEFAULT_PEER_SLOTS }, (_, at) => defaultDataFolder('peer', at + 1))
}

const commands = {
  ...recordCommands(facts, {
    folders,
    async createPeer({ bootstrap, data, memory, network, preset, logLevel }) {
      const { createLog } = await import('../shared/status/log.server.ts')
      const { createPeer } = await import('./peer.ts')
      const log = createLog({ level: logLevel, name: 'peer' })
      // nobody has to find it: it asks, and is gone
      return await createPeer({ bootstrap, data, memory, network, preset, listen: '127.0.0.1:0', http: 'off', log })
    }
  }),
  ...archiveCommands(facts, PEER_ARCHIVE_OPTIONS, {
    folders,
    exists: existsSync,
    async openArchive({ data, logLevel }) {
      const { createLog } = await import('../shared/status/log.server.ts')
      const { openArchive } = await import('../shared/host/archive.server.ts')
      const { openDefaultPeerStore } = await import('../shared/store/paths.server.ts')
      const { openStore } = await import('../shared/store/level.server.ts')
      const log = createLog({ level: logLevel, name: 'peer' })
      const store = data === undefined ? await openDefaultPeerStore({ log }) : await openStore(data, { log })
      return await openArchive(store, log)
    }
  })
}

const isCommand = await runOnce(host, commands)
if (!isCommand) {
  await run(host, {
    version: programVersion,
    help: () =>
      helpText(
        PEER_OPTIONS,
        'Joins topics and talks to their members: npm run peer -- [options]\n' +
          `Does one thing and ends: npm run peer -- ${PEER_COMMANDS.join('|')} … (each with --help)`
      ),
    parse: (argv, env) => commandLineFrom(argv, env).values,
    async start({ topic, files, logLevel, json: _json, help: _help, version: _version, ...settings }, io) {
      const { createLog } = await import('../shared/status/log.server.ts')
      const { createPeer } = await import('./peer.ts')
      const peer = await createPeer({ ...settings, log: createLog({ level: logLevel, name: 'peer' }) })
      return startPeer(peer, { topics: topic, files }, io)
    }
  })
}
