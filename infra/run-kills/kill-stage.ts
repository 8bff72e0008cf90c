/** What kills are tried on: a broker, a CA and a host, with the commands and the procedure of the runs. */
import { brokerApiOf } from '../demo/broker-stage.ts';
import { RunnerStage } from '../demo/runner-stage.ts';
import { INVENTORY, type KillStage, layMarks, PROCEDURES } from './kills.ts';

export async function openKillStage(
  say: (text: string) => void = () => undefined,
): Promise<KillStage & { readonly close: () => Promise<void> }> {
  const opened = await RunnerStage.open({ say, commands: INVENTORY, lay: layMarks, procedures: PROCEDURES });
  const { stage, broker, host } = opened;
  try {
    return { stage, broker, host, api: await brokerApiOf(broker, 'lin'), close: () => opened.close() };
  } catch (error) {
    await opened.close();
    throw error;
  }
}
