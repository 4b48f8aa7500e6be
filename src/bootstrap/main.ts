import { keepCompiledCode, processHost } from '../peer/cli/host.ts'
import { run } from '../peer/cli/run.ts'
import { startBootstrap } from '../peer/cli/start.ts'
import { helpText } from '../shared/core/command-line.ts'
import { programVersion } from '../shared/host/version.server.ts'
import { BOOTSTRAP_OPTIONS, commandLineFrom } from './options.ts'

keepCompiledCode()
await run(processHost(), {
  version: programVersion,
  help: () =>
    helpText(
      BOOTSTRAP_OPTIONS,
      'Runs a well-known node that peers find each other through: npm run bootstrap -- [options]'
    ),
  parse: (argv, env) => commandLineFrom(argv, env).values,
  async start({ logLevel, json: _json, help: _help, version: _version, ...settings }, io) {
    const { createLog } = await import('../shared/status/log.server.ts')
    const { createBootstrap } = await import('./bootstrap.ts')
    const bootstrap = await createBootstrap({ ...settings, log: createLog({ level: logLevel, name: 'bootstrap' }) })
    return startBootstrap(bootstrap, io)
  }
})
