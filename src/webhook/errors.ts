import { PlenumError } from '../lib/errors.ts';

export function webhookKeyUnknown(apiKey: string): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'webhook-key-unknown',
    message:
      apiKey === ''
        ? '`webhook.urls` is set, but `webhook.api_key`, whose secret signs webhooks, is not'
        : `\`webhook.api_key\` is ${JSON.stringify(apiKey)}, which is not one of \`keys\``,
  });
}
