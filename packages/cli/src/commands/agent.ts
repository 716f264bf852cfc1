import { readFileSync } from 'node:fs';
import { type ConfigFlags, readConfig } from '@heddle/agent/config';
import { cniPlugin, objects, version } from '@heddle/assets';
import { Failure } from '@heddle/control/failure';
import { preflight } from '@heddle/control/preflight';
import { nodePlatform } from '@heddle/sys/node';
import { keepProcessSmall, releaseMemoryWhenIdle } from '@heddle/sys/node/memory';
import { logSink } from '../log.ts';

/**
 * `heddle agent`: runs with the configuration of a file (if any) and flags until SIGTERM or SIGINT.
 * Programmed services then stay programmed.
 */
export async function agent(path: string | undefined, flags: ConfigFlags): Promise<void> {
  keepProcessSmall();
  const file = path === undefined ? undefined : { path, text: readFileSync(path, 'utf8') };
  const config = readConfig(file, flags);
  const missing = preflight();
  if (missing) throw new Failure(missing.exitCode, missing.message);

  const platform = nodePlatform(logSink(config.logLevel));
  const { startAgent } = await import('@heddle/agent');
  const running = startAgent({
    ...{ platform, config, objects, cniPlugin },
    environment: process.env,
    version: version(),
  });
  releaseMemoryWhenIdle();
  const stop = () => {
    try {
      running[Symbol.dispose]();
    } catch (error) {
      platform.log('warn', `end the agent: ${(error as Error).message}`);
    }
    // Exit although something else may still keep the event loop running, e.g. an open stdin.
    process.exit();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}
