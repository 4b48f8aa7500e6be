import { existsSync } from 'node:fs'
import { archiveCommands } from '../peer/cli/archive-run.ts'
import { keepCompiledCode, processHost } from '../peer/cli/host.ts'
import { runOnce } from '../peer/cli/once.ts'
import { BOOTSTRAP_ARCHIVE_OPTIONS } from '../peer/cli/record-options.ts'
import { run } from '../peer/cli/run.ts'
import { startBootstrap } from '../peer/cli/start.ts'
import { helpText } from '../shared/core/command-line.ts'
import { programVersion } from '../shared/host/version.server.ts'
import { BOOTSTRAP_COMMANDS, BOOTSTRAP_OPTIONS, commandLineFrom } from './options.ts'

keepCompiledCode()
const host = processHost()
const facts = { version: programVersion, program: 'npm run bootstrap --' }

async function folder(data: string | undefined): Promise<string> {
  if (data !== undefined) return data
  const { defaultDataFolder } = await import('../shared/store/paths.server.ts')
  return defaultDataFolder('bootstrap', 1)
}

const commands = archiveCommands(facts, BOOTSTRAP_ARCHIVE_OPTIONS, {
  folders: async data => [await folder(data)],
  exists: existsSync,
  async openArchive({ data, logLevel }) {
    const { createLog } = await import('../shared/status/log.server.ts')
    const { openArchive } = await import('../shared/host/archive.server.ts')
    const { openStore } = await import('../shared/store/level.server.ts')
    const log = createLog({ level: logLevel, name: 'bootstrap' })
    return await openArchive(await openStore(await folder(data), { log }), log)
  }
})

const isCommand = await runOnce(host, commands)
if (!isCommand) {
  await run(host, {
    version: programVersion,
    help: () =>
      helpText(
        BOOTSTRAP_OPTIONS,
        'Runs a well-known node that peers find each other through: npm run bootstrap -- [options]\n' +
          `Does one thing and ends: npm run bootstrap -- ${BOOTSTRAP_COMMANDS.join('|')} … (each with --help)`
      ),
    parse: (argv, env) => commandLineFrom(argv, env).values,
    async start({ logLevel, json: _json, help: _help, version: _version, ...settings }, io) {
      const { createLog } = await import('../shared/status/log.server.ts')
      const { createBootstrap } = await import('./bootstrap.ts')
      const bootstrap = await createBootstrap({ ...settings, log: createLog({ level: logLevel, name: 'bootstrap' }) })
      return startBootstrap(bootstrap, io)
    }
  })
}
