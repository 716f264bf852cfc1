import { version } from '@heddle/assets';
import { type Command, Option } from 'commander';
import { appended, outputOption, sharedDefaults, socketOption, withExamples } from './options.ts';

/** Adds the commands that check, install and remove. */
export function addHousekeeping(program: Command): void {
  withExamples(
    program
      .command('validate')
      .description('check a folder of manifests; needs neither root nor an agent')
      .argument('<dir>', 'folder of manifests')
      .addOption(outputOption())
      .action(async (dir, options) =>
        (await import('../commands/validate.ts')).validate(dir, options),
      ),
    'heddle validate examples/hello',
  );

  withExamples(
    program
      .command('manifests')
      .description('print the objects that run Heddle on every node, for kubectl apply')
      .option('--set <name=value>', 'change a setting; may be repeated', appended)
      .option('--fields', 'list the settings')
      .addOption(
        new Option('-o, --output <format>', 'output format')
          .choices(['yaml', 'json'])
          .default('yaml'),
      )
      .action(async (options) => (await import('../commands/manifests.ts')).manifests(options)),
    'heddle manifests | kubectl apply -f -',
    'heddle manifests --set apiServers=https://192.0.2.10:6443 --set sizes.services=131072',
    'heddle manifests --fields',
  );

  withExamples(
    program
      .command('cleanup')
      .description('remove Heddle, or what kube-proxy left, from this machine')
      .option('--kube-proxy', 'remove only the rules and interfaces that kube-proxy left')
      .option('--bpffs <dir>', 'directory for pins', sharedDefaults.bpffs)
      .addOption(socketOption())
      .option(
        '--cni-bin-dir <dir>',
        'directory of the CNI plug-in',
        sharedDefaults.cni.binDir.fallback,
      )
      .option(
        '--cni-config-dir <dir>',
        'directory of its configuration',
        sharedDefaults.cni.configDir.fallback,
      )
      .option('--pods', 'also the interfaces of pods, which lose their network')
      .option('--force', 'even while the agent, or kube-proxy, runs')
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/cleanup.ts')).cleanup(options)),
    'heddle cleanup',
    'heddle cleanup --pods',
    'heddle cleanup --kube-proxy',
  );
}

/** Adds the commands about `heddle` itself. */
export function addAbout(program: Command): void {
  withExamples(
    program
      .command('version')
      .description('show the version')
      .addOption(outputOption())
      .action(({ output }) => {
        const own = version();
        const node = process.versions.node;
        process.stdout.write(
          output === 'json'
            ? `${JSON.stringify({ version: own, node }, null, 2)}\n`
            : `heddle ${own} (Node.js ${node})\n`,
        );
      }),
    'heddle version',
  );

  withExamples(
    program
      .command('completion')
      .description('print a completion script for a shell')
      .argument('<shell>', 'bash, zsh or fish')
      .action(async (shell) => {
        const { completion } = await import('../commands/completion.ts');
        completion(program, shell);
      }),
    'heddle completion bash > /etc/bash_completion.d/heddle',
    'source <(heddle completion zsh)',
    'heddle completion fish | source',
  );
}
