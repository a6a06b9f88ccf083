<?php
// Report a verification from PHP 8: php report.php HOST PORT ACCOUNT MESSAGE_ID
// Tell that an OTP was sent: php report.php HOST PORT ACCOUNT MESSAGE_ID COUNTRY
//
// An app that has a client for Redis (phpredis, Predis) calls its lPush("otpreport.$account", reported($event)); `write`
// stands for that.

declare(strict_types=1);

function reported(array $event): string
{
    return message('otpreport.report', ['event' => $event]);
}

function sent(array $otp): string
{
    return message('otpreport.sent', ['otp' => $otp]);
}

function message(string $task, array $named): string
{
    $body = json_encode([[], $named, new stdClass()], JSON_THROW_ON_ERROR);
    return json_encode([
        'body' => base64_encode($body),
        'content-type' => 'application/json',
        'content-encoding' => 'utf-8',
        'headers' => ['id' => bin2hex(random_bytes(16)), 'task' => $task],
        'properties' => ['body_encoding' => 'base64'],
    ], JSON_THROW_ON_ERROR);
}

function write(string $host, int $port, string ...$words): string
{
    $socket = stream_socket_client("tcp://$host:$port", $code, $error, 1.0) ?: throw new RuntimeException($error);
    stream_set_timeout($socket, 1); // no answer in time: report it again
    $call = '*' . count($words) . "\r\n";
    foreach ($words as $word) {
        $call .= '$' . strlen($word) . "\r\n$word\r\n";
    }
    fwrite($socket, $call);
    return trim(fgets($socket) ?: throw new RuntimeException('no answer'));
}

[, $host, $port, $account, $messageId] = $argv;
$country = $argv[5] ?? null;
$now = new DateTimeImmutable();
$told = $country !== null ? sent([
    'account' => $account,
    'message_id' => $messageId, // as in the event
    'sent_at' => $now->format('Y-m-d\TH:i:s.vP'),
    'expires_in' => 300, // seconds
    'country' => $country, // ISO 3166-1; no phone number: a field that is not listed here is refused
]) : reported([
    'account' => $account,
    'message_id' => $messageId, // the provider's id of the SMS
    'occurred_at' => $now->format('Y-m-d\TH:i:s.vP'),
    'sent_at' => $now->modify('-20 seconds')->format(DATE_ATOM),
]);
echo write($host, (int) $port, 'LPUSH', "otpreport.$account", $told), "\n";
