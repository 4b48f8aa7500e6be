import { helpText } from '../shared/core/command-line.ts'
import { programVersion } from '../shared/host/version.server.ts'
import { keepCompiledCode, processHost } from './cli/host.ts'
import { run } from './cli/run.ts'
import { startPeer } from './cli/start.ts'
import { commandLineFrom, PEER_OPTIONS } from './options.ts'

keepCompiledCode()
await run(processHost(), {
  version: programVersion,
  help: () => helpText(PEER_OPTIONS, 'Joins topics and talks to their members: npm run peer -- [options]'),
  parse: (argv, env) => commandLineFrom(argv, env).values,
  async start({ topic, files, logLevel, json: _json, help: _help, version: _version, ...settings }, io) {
    const { createLog } = await import('../shared/status/log.server.ts')
    const { createPeer } = await import('./peer.ts')
    const peer = await createPeer({ ...settings, log: createLog({ level: logLevel, name: 'peer' }) })
    return startPeer(peer, { topics: topic, files }, io)
  }
})
