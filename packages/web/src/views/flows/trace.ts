import { protocolName } from '../../protocols.ts';
import { type FlowRow, flagText } from './rows.ts';

/** Returns an argument as a POSIX shell reads it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns the command that traces the packet of a row, or for an answer the first packet of the client. */
export function traceCommand({ from, to, protocol, flags, service, isReply }: FlowRow): string {
  const namespace = from.name.split('/')[0];
  const source = from.pod && namespace ? `${namespace}/${from.pod}` : from.address;
  const name = protocolName(protocol).replace(/v6$/, '').toLowerCase();
  const options = [
    ...['--from', source, '--to', service || to.address],
    ...(to.port > 0 ? ['--port', String(to.port)] : []),
    ...(name === 'tcp' ? [] : ['--protocol', name]),
    ...(protocol === 6 && flags !== 0 && !isReply
      ? ['--flags', flagText(flags).toLowerCase().replaceAll(' ', '')]
      : []),
  ];
  return ['heddle trace', ...options.map(shellWord)].join(' ');
}
