<?php
namespace App\Models;

use Framework\Model as BaseModel;
use Framework\Str;

/**
 * A user of the shop.
 */
final class User extends BaseModel implements Countable
{
    const TABLE = 'users';
    protected $names = [];
    public function __construct(private string $email, $role = self::TABLE) { $this->names[] = $role; }

    /**
     * Finds a name.
     *
     * @param int $index
     */
    #[Pure]
    public function find(int $index, callable ...$filters): ?string
    {
        foreach ($filters as $key => $filter) {
            $result = $filter($this->names[$index] ?? "none $key {$this->email}");
        }
        try { Str::upper($result); } catch (\Exception $error) { throw $error; }
        return $result;
    }
}

// Greets a user.
function greet(User $user) {
    global $config;
    return strlen($user->find(1)) + $config;
}
